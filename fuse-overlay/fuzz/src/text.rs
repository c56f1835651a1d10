//! How the tables write bytes: words, `"quoted\n"`, `"a"*4096`, and parts joined by `+`.

/// The words of a line.
///
/// # Errors
/// What is wrong with the line, in words.
pub fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = line.trim();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, after) = word(rest).map_err(|why| format!("{why} in `{line}`"))?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

fn word(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut word = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next().filter(|next| !next.is_whitespace()) {
        if next == '"' {
            let (part, after) = quoted(&rest[1..])?;
            let (times, after) = repeated(after)?;
            word.extend(part.repeat(times));
            rest = after.strip_prefix('+').unwrap_or(after);
        } else {
            word.extend(next.to_string().as_bytes());
            rest = &rest[next.len_utf8()..];
        }
    }
    Ok((word, rest))
}

fn quoted(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let next = rest.chars().next().ok_or("a quote is not closed")?;
        rest = &rest[next.len_utf8()..];
        match next {
            '"' => return Ok((bytes, rest)),
            '\\' => {
                let (byte, after) = escaped(rest)?;
                bytes.push(byte);
                rest = after;
            }
            other => bytes.extend(other.to_string().as_bytes()),
        }
    }
}

fn escaped(text: &str) -> Result<(u8, &str), String> {
    let kind = text.bytes().next().ok_or("nothing after a backslash")?;
    let byte = match kind {
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'x' => {
            let digits = text.get(1..3).ok_or("two digits after \\x")?;
            return Ok((u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?, &text[3..]));
        }
        other => other,
    };
    Ok((byte, &text[1..]))
}

fn repeated(text: &str) -> Result<(usize, &str), String> {
    let Some(after) = text.strip_prefix('*') else { return Ok((1, text)) };
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    Ok((after[..end].parse().map_err(|_| "a count after *")?, &after[end..]))
}

/// Runs of one byte that are at least this long are written as a product.
const RUN: usize = 16;

/// Bytes as the tables write them; what would not fit a line becomes its length and a checksum.
pub fn show(bytes: &[u8]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut plain = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        if run.len() >= RUN {
            if !plain.is_empty() {
                parts.push(format!("\"{plain}\""));
                plain.clear();
            }
            parts.push(format!("\"{}\"*{}", escape(run[0]), run.len()));
        } else {
            plain.extend(run.iter().map(|byte| escape(*byte)));
        }
    }
    if !plain.is_empty() || parts.is_empty() {
        parts.push(format!("\"{plain}\""));
    }
    let text = parts.join("+");
    if text.len() > 400 { format!("{} bytes of sum {:016x}", bytes.len(), sum(bytes)) } else { text }
}

fn escape(byte: u8) -> String {
    match byte {
        b'\n' => "\\n".into(),
        b'\t' => "\\t".into(),
        0 => "\\0".into(),
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).into(),
        _ => format!("\\x{byte:02x}"),
    }
}

/// FNV-1a: to tell contents apart in a message, not to protect anything.
pub fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A name as it stands in a listing: quoted where it has to be.
pub fn name(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) && bytes.len() <= 40 {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        show(bytes)
    }
}

#[test]
fn what_is_shown_is_read_back() {
    for bytes in [&b""[..], b"hello", b"a\"b\\c\n\0\xff", &[b'a'; 40], b"x\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0y"] {
        assert_eq!(words(&show(bytes)).unwrap(), [bytes], "{}", show(bytes));
    }
    assert_eq!(words("d/\"n\"*3 \"a b\"").unwrap(), [b"d/nnn".to_vec(), b"a b".to_vec()]);
}
