//! Variables in texts: `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`, `${NAME:?sentence}`.

/// What becomes of quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quotes {
    /// They are letters like any other.
    #[default]
    Plain,
    /// They go away, as in a shell; within single ones nothing is replaced.
    Shell,
}

/// The longest text that may come of variables in variables, in bytes: a file has less.
const LONGEST: usize = 8 << 20;
/// How deep one variable may stand in another one's word.
const DEEPEST: usize = 64;

/// Finds the value of a variable.
pub type Lookup<'l> = &'l dyn Fn(&str) -> Option<String>;

/// Replaces the variables of `text`; one that is not set is nothing. A backslash takes away what a
/// dollar sign means.
///
/// # Errors
/// With what is wrong with the text, or what `${NAME:?sentence}` says.
pub fn expand(text: &str, quotes: Quotes, lookup: Lookup<'_>) -> Result<String, String> {
    let mut rest: Vec<char> = text.chars().rev().collect();
    let mut output = String::with_capacity(text.len());
    words(&mut rest, &mut output, (quotes, None), (lookup, 0))?;
    Ok(output)
}

fn words(
    rest: &mut Vec<char>,
    output: &mut String,
    (quotes, end): (Quotes, Option<char>),
    (lookup, depth): (Lookup<'_>, usize),
) -> Result<(), String> {
    if depth > DEEPEST {
        return Err("${ is nested too deep".to_owned());
    }
    let mut quoted = false;
    while let Some(letter) = rest.pop() {
        if output.len() > LONGEST {
            return Err(format!("it becomes longer than {} MiB", LONGEST >> 20));
        }
        match letter {
            _ if Some(letter) == end && !quoted => return Ok(()),
            '\\' if quotes == Quotes::Shell => match rest.pop() {
                Some(next) if quoted && !matches!(next, '"' | '$' | '\\') => output.extend(['\\', next]),
                Some(next) => output.push(next),
                None => output.push('\\'),
            },
            '\\' if rest.last() == Some(&'$') => {
                rest.pop();
                output.push('$');
            }
            '\'' if quotes == Quotes::Shell && !quoted => loop {
                match rest.pop() {
                    Some('\'') => break,
                    Some(letter) => output.push(letter),
                    None => return Err("a single quote is not closed".to_owned()),
                }
            },
            '"' if quotes == Quotes::Shell => quoted = !quoted,
            '$' => variable(rest, output, quotes, (lookup, depth))?,
            letter => output.push(letter),
        }
    }
    match end {
        _ if quoted => Err("a double quote is not closed".to_owned()),
        Some(end) => Err(format!("{end:?} is missing after ${{")),
        None => Ok(()),
    }
}

/// What stands after a dollar sign.
fn variable(
    rest: &mut Vec<char>,
    output: &mut String,
    quotes: Quotes,
    (lookup, depth): (Lookup<'_>, usize),
) -> Result<(), String> {
    let braced = rest.last() == Some(&'{');
    if braced {
        rest.pop();
    }
    let mut name = String::new();
    while let Some(letter) = rest.last().copied() {
        let fits = letter == '_' || letter.is_ascii_alphabetic() || (!name.is_empty() && letter.is_ascii_digit());
        if !fits {
            break;
        }
        name.push(letter);
        rest.pop();
    }
    if !braced {
        if name.is_empty() {
            output.push('$');
        } else {
            output.push_str(&lookup(&name).unwrap_or_default());
        }
        return Ok(());
    }
    if name.is_empty() {
        return Err("there is no name after ${".to_owned());
    }
    let value = lookup(&name);
    let (colon, operator) = match rest.pop() {
        Some('}') => {
            output.push_str(&value.unwrap_or_default());
            return Ok(());
        }
        Some(':') => (true, rest.pop()),
        other => (false, other),
    };
    let mut word = String::new();
    let Some(operator @ ('-' | '+' | '?')) = operator else {
        return Err(format!("${{{name} is followed by none of }}, :-, :+ and :?"));
    };
    words(rest, &mut word, (quotes, Some('}')), (lookup, depth + 1))?;
    let set = value.filter(|value| !(colon && value.is_empty()));
    match (operator, set) {
        ('-', None) => output.push_str(&word),
        ('+', Some(_)) => output.push_str(&word),
        ('+', None) => {}
        ('?', None) if word.is_empty() => return Err(format!("{name} is not set")),
        ('?', None) => return Err(format!("{name}: {word}")),
        (_, Some(value)) => output.push_str(&value),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".into()),
            "B" => Some("two words".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn nothing_grows_without_bound() {
        let deep = "${NONE:-".repeat(100_000);
        assert_eq!(expand(&deep, Quotes::Plain, &lookup), Err("${ is nested too deep".to_owned()));
        let long = |_: &str| Some("x".repeat(1 << 20));
        assert!(expand(&"$A".repeat(20), Quotes::Plain, &long).is_err_and(|error| error.contains("longer than 8 MiB")));
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$A/$B", "one/two words"),
            ("${A}x", "onex"),
            ("$Ax", ""),
            ("$NONE.", "."),
            ("${NONE:-d$A}", "done"),
            ("${NONE-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${A:+yes}${NONE:+no}${EMPTY+set}${EMPTY:+no}", "yesset"),
            ("${A:?must}", "one"),
            ("${NONE:-${B:-x}}", "two words"),
            ("\\$A", "$A"),
            ("a\\b", "a\\b"),
            ("$", "$"),
            ("$1", "$1"),
            ("100%", "100%"),
            ("'$A' \"$A\"", "'one' \"one\""),
        ] {
            assert_eq!(expand(text, Quotes::Plain, &lookup).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn quotes_as_in_a_shell() {
        for (text, expected) in [
            ("'$A'", "$A"),
            ("\"$B\"", "two words"),
            ("a\\ b", "a b"),
            ("\"a\\b\\\"c\"", "a\\b\"c"),
            ("\"it's $A\"", "it's one"),
            ("x='y'\\$A", "x=y$A"),
            ("${NONE:-'}'}", "}"),
        ] {
            assert_eq!(expand(text, Quotes::Shell, &lookup).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense() {
        for (text, why) in [
            ("${", "no name"),
            ("${A", "followed by none of"),
            ("${A:=x}", "followed by none of"),
            ("${A%x}", "followed by none of"),
            ("${NONE:-x", "is missing"),
            ("${NONE:?}", "NONE is not set"),
            ("${NONE:?give it}", "NONE: give it"),
            ("'a", "single quote"),
            ("\"a", "double quote"),
        ] {
            let error = expand(text, Quotes::Shell, &lookup).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
