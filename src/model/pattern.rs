//! Patterns of paths, as in `*.py` and `**/cache`: those of Go's filepath.Match, and `**`.

/// Whether all of `path` fits `pattern`. `*` and `?` stand for no slash, `**` for any number of parts.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    parts(&pattern, &path)
}

/// Whether there is anything in `text` that a pattern reads as more than itself.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// As [`part`]: the last `**` is tried again with one part more, so that no path takes longer than its square.
fn parts(pattern: &[&str], path: &[&str]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(name) = path.get(read) {
        match pattern.get(at) {
            Some(&"**") => {
                at += 1;
                // At the end it stands for all that is below.
                if at == pattern.len() {
                    return true;
                }
                star = Some((at, read));
                continue;
            }
            Some(one) if part(one, name) => {
                (at, read) = (at + 1, read + 1);
                continue;
            }
            _ => {}
        }
        let Some((begin, from)) = star else { return false };
        star = Some((begin, from + 1));
        (at, read) = (begin, from + 1);
    }
    at == pattern.len()
}

/// One name. The last star is tried again with one letter more: no text takes longer than its square.
fn part(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = name.get(read) {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, read));
            at += 1;
            continue;
        }
        if let Some(next) = one(&pattern, at, *letter) {
            (at, read) = (next, read + 1);
            continue;
        }
        let Some((begin, from)) = star else { return false };
        star = Some((begin, from + 1));
        (at, read) = (begin + 1, from + 1);
    }
    pattern.get(at..).unwrap_or_default().iter().all(|letter| *letter == '*')
}

/// Where the pattern goes on, if what stands at `at` takes `letter`.
fn one(pattern: &[char], at: usize, letter: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => (pattern.get(at + 1) == Some(&letter)).then_some(at + 2),
        '[' => class(pattern, at + 1, letter),
        other => (*other == letter).then_some(at + 1),
    }
}

fn class(pattern: &[char], mut at: usize, letter: char) -> Option<usize> {
    let negated = matches!(pattern.get(at), Some('^' | '!'));
    at += usize::from(negated);
    let mut found = false;
    let first = at;
    loop {
        let low = *pattern.get(at)?;
        if low == ']' && at > first {
            return (found != negated).then_some(at + 1);
        }
        let (high, next) = match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some('-'), Some(high)) if *high != ']' => (*high, at + 3),
            _ => (low, at + 1),
        };
        found |= (low..=high).contains(&letter);
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_takes_long() {
        let pattern = format!("{}b", "**/a/".repeat(20));
        let path = vec!["a"; 200].join("/");
        assert!(!matches(&pattern, &path));
        assert!(matches(&pattern, &format!("{path}/b")));
        assert!(matches("a/**/**/b", "a/b") && matches("**/b", "b") && !matches("a/**", "a"));
    }

    #[test]
    fn patterns() {
        for (pattern, path, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*.py", "x.py", true),
            ("*.py", "d/x.py", false),
            ("**/*.py", "x.py", true),
            ("**/*.py", "d/e/x.py", true),
            ("d/**", "d/e/f", true),
            ("d/**", "d", false),
            ("d/**/f", "d/f", true),
            ("d/**/f", "d/a/b/f", true),
            ("**", "a/b", true),
            ("?x", "ax", true),
            ("?x", "x", false),
            ("[a-c]1", "b1", true),
            ("[^a-c]1", "b1", false),
            ("[!a-c]1", "z1", true),
            ("[]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("*", "", true),
            ("[", "[", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
        // No pattern takes for ever.
        assert!(!matches(&"a*".repeat(30), &"a".repeat(29)));
    }
}
