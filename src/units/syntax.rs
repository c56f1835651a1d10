//! The syntax of unit files, as systemd.syntax(7) has it: sections, assignments, comments, lines that
//! go on. What the assignments mean is for others.

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The section, without brackets.
    pub section: String,
    /// The name before `=`.
    pub key: String,
    /// What stands after it, without surrounding blanks; continued lines are one.
    pub value: String,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// A file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// All assignments, in order.
    pub assignments: Vec<Assignment>,
    /// Section headers with their lines, empty sections too.
    pub sections: Vec<(usize, String)>,
    /// Lines that are no part of the syntax, and why.
    pub mistakes: Vec<(usize, String)>,
}

/// Reads a unit file. Whatever is no part of the syntax is left out and told.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let mut section: Option<String> = None;
    for (line, logical) in logical_lines(text) {
        let logical = logical.trim();
        if logical.is_empty() {
            continue;
        }
        if let Some(header) = logical.strip_prefix('[') {
            match header.strip_suffix(']').filter(|name| is_section_name(name)) {
                Some(name) => {
                    parsed.sections.push((line, name.to_owned()));
                    section = Some(name.to_owned());
                }
                None => {
                    parsed.mistakes.push((line, format!("invalid section header {logical:?}")));
                    // What follows belongs to nobody, rather than to the section before.
                    section = None;
                }
            }
            continue;
        }
        let Some((key, value)) = logical.split_once('=') else {
            parsed.mistakes.push((line, format!("expected KEY=VALUE, a [Section] or a comment: {logical:?}")));
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        let Some(section) = &section else {
            parsed.mistakes.push((line, format!("{key}= stands before any section")));
            continue;
        };
        if key.is_empty() || key.chars().any(|c| c.is_whitespace() || c.is_control()) {
            parsed.mistakes.push((line, format!("invalid key {key:?}")));
            continue;
        }
        let (section, key, value) = (section.clone(), key.to_owned(), value.to_owned());
        parsed.assignments.push(Assignment { section, key, value, line });
    }
    parsed
}

fn is_section_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_control() || matches!(c, '[' | ']' | '"' | '\'' | '\\'))
}

/// Lines with those joined that end in a backslash, each with the number of its first one. Comments are
/// left out, also between the lines of a continued one.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let (first, mut whole) = open.take().unwrap_or((index + 1, String::new()));
        let goes_on = ends_in_lone_backslash(line);
        whole.push_str(if goes_on { &line[..line.len() - 1] } else { line });
        if goes_on {
            // As systemd: the backslash and the end of the line are one blank.
            whole.push(' ');
            open = Some((first, whole));
        } else {
            lines.push((first, whole));
        }
    }
    lines.extend(open);
    lines
}

/// Whether the last character is a backslash that no other one escapes.
pub(super) fn ends_in_lone_backslash(line: &str) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

/// Reads a boolean as systemd does.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let parsed = parse(text);
        let assignments =
            parsed.assignments.iter().map(|it| format!("{}:{}.{}={}", it.line, it.section, it.key, it.value));
        assignments.chain(parsed.mistakes.iter().map(|(line, mistake)| format!("{line}! {mistake}"))).collect()
    }

    #[test]
    fn lines_comments_and_continuations() {
        let cases: [(&str, &[&str]); 12] = [
            ("[A]\nb=c", &["2:A.b=c"]),
            ("# x\n; y\n[A]\n  b = c d \n\n", &["4:A.b=c d"]),
            ("[A]\r\nb=c\r\n", &["2:A.b=c"]),
            ("\u{feff}[A]\nb=c", &["2:A.b=c"]),
            ("[A]\nb=one \\\n# comment\n  ; another\n  two\nc=d", &["2:A.b=one    two", "6:A.c=d"]),
            ("[A]\nb=end\\", &["2:A.b=end"]),
            ("[A]\nb=two\\\\\nc=d", &["2:A.b=two\\\\", "3:A.c=d"]),
            ("[A]\nb=\nb==x=", &["2:A.b=", "3:A.b==x="]),
            (
                "b=c\n[A]\nnothing",
                &["1! b= stands before any section", "3! expected KEY=VALUE, a [Section] or a comment: \"nothing\""],
            ),
            ("[A\nb=c\n[B]\nd=e", &["4:B.d=e", "1! invalid section header \"[A\"", "2! b= stands before any section"]),
            ("[A]\n=c\na b=c", &["2! invalid key \"\"", "3! invalid key \"a b\""]),
            ("[A]\nx=1\n[B]\n[A]\nx=2", &["2:A.x=1", "5:A.x=2"]),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn booleans_are_systemds() {
        for (text, value) in [
            ("yes", Some(true)),
            ("On", Some(true)),
            ("0", Some(false)),
            ("FALSE", Some(false)),
            ("maybe", None),
            ("", None),
        ] {
            assert_eq!(boolean(text), value, "{text}");
        }
    }
}
