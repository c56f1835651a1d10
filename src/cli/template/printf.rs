//! `printf` of a template: the verbs, flags, widths and precisions that people give Go's.

use serde_json::Value;

use super::functions::{json, print};

/// Wider than any column; a template must not ask for all memory.
const WIDEST: usize = 4096;

/// `%[flags][width][.precision]verb`.
#[derive(Default)]
struct Verb {
    left: bool,
    zeros: bool,
    sign: bool,
    width: usize,
    precision: Option<usize>,
}

/// Puts `values` into `format`. A value too many or too few is told in the text, as Go does.
pub(super) fn printf(format: &str, values: &[Value]) -> String {
    let mut output = String::new();
    let mut values = values.iter();
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '%' {
            output.push(character);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = characters.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#')) {
            verb.left |= flag == '-';
            verb.zeros |= flag == '0';
            verb.sign |= flag == '+';
        }
        verb.width = number(&mut characters).unwrap_or_default();
        if characters.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(&mut characters).unwrap_or_default());
        }
        match characters.next() {
            Some('%') => output.push('%'),
            None => output.push_str("%!(NOVERB)"),
            Some(letter) => match values.next() {
                Some(value) => output.push_str(&verb.show(letter, value)),
                None => output.push_str(&format!("%!{letter}(MISSING)")),
            },
        }
    }
    let rest: Vec<String> = values.map(print).collect();
    if !rest.is_empty() {
        output.push_str(&format!("%!(EXTRA {})", rest.join(", ")));
    }
    output
}

fn number(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        let digit = digit.to_digit(10).unwrap_or_default() as usize;
        number = Some(number.unwrap_or(0_usize).saturating_mul(10).saturating_add(digit).min(WIDEST));
    }
    number
}

impl Verb {
    fn show(&self, letter: char, value: &Value) -> String {
        let text = match (letter, value) {
            ('q', value) => format!("{:?}", self.cut(&print(value))),
            ('x', Value::Number(number)) => number.as_i64().map_or_else(|| print(value), |n| format!("{n:x}")),
            ('o', Value::Number(number)) => number.as_i64().map_or_else(|| print(value), |n| format!("{n:o}")),
            ('f' | 'g' | 'e', Value::Number(number)) => {
                let digits = self.precision.unwrap_or(6);
                number.as_f64().map_or_else(|| print(value), |number| format!("{number:.digits$}"))
            }
            ('v', Value::Object(_) | Value::Array(_)) if self.sign => json(value),
            ('s', value) => self.cut(&print(value)),
            (_, value) => print(value),
        };
        let signed = self.sign && value.as_f64().is_some_and(|number| number >= 0.0);
        self.pad(if signed { format!("+{text}") } else { text }, value.is_number())
    }

    fn cut(&self, text: &str) -> String {
        self.precision.map_or_else(|| text.to_owned(), |most| text.chars().take(most).collect())
    }

    fn pad(&self, text: String, number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.left, self.zeros && number) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => "0".repeat(missing) + &text,
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn verbs_are_those_of_go() {
        for (format, values, shown) in [
            (
                "%-6s|%6s|%.2s|%q",
                vec![json!("web"), json!("web"), json!("web"), json!("a\"b")],
                "web   |   web|we|\"a\\\"b\"",
            ),
            (
                "%5d|%-5d|%05d|%+d|%x",
                vec![json!(42), json!(42), json!(42), json!(42), json!(255)],
                "   42|42   |00042|+42|ff",
            ),
            ("%.2f|%6.1f", vec![json!(1.005), json!(2)], "1.00|   2.0"),
            ("%v %v %t", vec![json!(["a", "b"]), json!(null), json!(true)], "[a b] <no value> true"),
            ("100%% %s", vec![json!("done")], "100% done"),
            ("%s %s", vec![json!("one")], "one %!s(MISSING)"),
            ("x", vec![json!("y")], "x%!(EXTRA y)"),
            ("%", vec![], "%!(NOVERB)"),
        ] {
            assert_eq!(printf(format, &values), shown, "{format}");
        }
        assert_eq!(printf("%99999999999s", &[json!("x")]).len(), WIDEST);
    }
}
