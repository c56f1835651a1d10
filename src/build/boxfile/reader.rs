//! Tables of a TOML document, with the place of everything that is read from them.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::build::nearest::nearest;
use crate::build::{Mistake, Position};

/// A document and a table in it.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    text: &'t str,
    /// As it is written: `[box]`, `copy`.
    name: &'t str,
    table: &'t DeTable<'t>,
    position: Position,
}

/// A text, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) position: Position,
}

/// One item of a list: a text, or a table.
pub(super) enum Item<'t> {
    Text(Placed<String>),
    Section(Section<'t>),
}

impl<'t> Section<'t> {
    /// The whole document; its keys have to be among `known`.
    pub(super) fn document(text: &'t str, table: &'t Spanned<DeTable<'t>>, known: &[&str]) -> Result<Self, Mistake> {
        let position = Position { line: 1, column: 1 };
        Self { text, name: "the document", table: table.get_ref(), position }.checked(known)
    }

    fn checked(self, known: &[&str]) -> Result<Self, Mistake> {
        for key in self.table.keys() {
            let word: &str = key.get_ref();
            if !known.contains(&word) {
                return Err(self.unknown(word, Position::of(self.text, key.span().start), known));
            }
        }
        Ok(self)
    }

    fn unknown(&self, word: &str, position: Position, known: &[&str]) -> Mistake {
        let meant = nearest(word, known).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        let mistake = Mistake::new(position, format!("{} has no key {word}{meant}", self.name));
        mistake.hint(format!("its keys are {}", known.join(", ")))
    }

    /// Where it stands.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// A mistake in it.
    pub(super) fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.position, message)
    }

    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.iter().find(|(known, _)| known.get_ref() == key).map(|(_, value)| value)
    }

    fn at(&self, value: &Spanned<DeValue<'t>>) -> Position {
        Position::of(self.text, value.span().start)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'t>>, expected: &str) -> Mistake {
        let found = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        Mistake::new(self.at(value), format!("{key} of {} is {found}; expected {expected}", self.name))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<Placed<String>>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(Placed { value: text.to_string(), position: self.at(value) })),
            _ => Err(self.wrong(key, value, "text, in quotes")),
        }
    }

    /// A text that has to be there.
    pub(super) fn required(&self, key: &str) -> Result<Placed<String>, Mistake> {
        self.text(key)?.ok_or_else(|| self.mistake(format!("{} lacks the key {key}", self.name)))
    }

    /// A text or a number, as text.
    pub(super) fn scalar(&self, key: &str) -> Result<Option<Placed<String>>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = scalar(value.get_ref()).ok_or_else(|| self.wrong(key, value, "text or a number"))?;
        Ok(Some(Placed { value: text, position: self.at(value) }))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(Some(*value)),
            _ => Err(self.wrong(key, value, "true or false")),
        }
    }

    /// A text or number, or several.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<Placed<String>>>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let expected = "text, or a list of texts";
        let of = |value: &'t Spanned<DeValue<'t>>| {
            let text = scalar(value.get_ref()).ok_or_else(|| self.wrong(key, value, expected))?;
            Ok(Placed { value: text, position: self.at(value) })
        };
        match value.get_ref() {
            DeValue::Array(list) => list.iter().map(of).collect::<Result<_, _>>().map(Some),
            _ => Ok(Some(vec![of(value)?])),
        }
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Array(_)))
    }

    /// Names with a text, number or truth each, in the order of the names.
    pub(super) fn pairs(&self, key: &str) -> Result<Option<Vec<(String, String)>>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let DeValue::Table(table) = value.get_ref() else { return Err(self.wrong(key, value, "a table")) };
        let pair = |(name, value): (&Spanned<_>, &'t Spanned<DeValue<'t>>)| {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            let text = scalar(value.get_ref()).ok_or_else(|| self.wrong(name, value, "text or a number"))?;
            Ok((name.to_string(), text))
        };
        table.iter().map(pair).collect::<Result<_, Mistake>>().map(Some)
    }

    /// A table within.
    pub(super) fn section(&self, key: &'t str, name: &'t str, known: &[&str]) -> Result<Option<Self>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(None) };
        self.within(name, value, known).map(Some)
    }

    fn within(&self, name: &'t str, value: &'t Spanned<DeValue<'t>>, known: &[&str]) -> Result<Self, Mistake> {
        let DeValue::Table(table) = value.get_ref() else { return Err(self.wrong(name, value, "a table")) };
        // The place of a table is that of its first key, where it has one: a header has none of its own.
        let first = table.keys().map(|key| key.span().start).min();
        let start = first.unwrap_or(value.span().start);
        Self { text: self.text, name, table, position: Position::of(self.text, start) }.checked(known)
    }

    /// Tables, as `[[steps]]` makes them.
    pub(super) fn sections(&self, key: &str, name: &'t str, known: &[&str]) -> Result<Vec<Self>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let expected = format!("tables, each with the header [[{key}]]");
        let DeValue::Array(list) = value.get_ref() else { return Err(self.wrong(key, value, &expected)) };
        list.iter().map(|value| self.within(name, value, known)).collect()
    }

    /// Texts and tables; one of them may stand without a list.
    pub(super) fn items(&self, key: &str, name: &'t str, known: &[&str]) -> Result<Vec<Item<'t>>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let item = |value: &'t Spanned<DeValue<'t>>| match value.get_ref() {
            DeValue::String(text) => Ok(Item::Text(Placed { value: text.to_string(), position: self.at(value) })),
            DeValue::Table(_) => self.within(name, value, known).map(Item::Section),
            _ => Err(self.wrong(key, value, "text or a table, or a list of them")),
        };
        match value.get_ref() {
            DeValue::Array(list) => items(list).map(item).collect(),
            _ => Ok(vec![item(value)?]),
        }
    }
}

fn items<'t>(list: &'t DeArray<'t>) -> impl Iterator<Item = &'t Spanned<DeValue<'t>>> {
    list.iter()
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}
