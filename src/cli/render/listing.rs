//! Lists (`images`, `ps`) and single objects (`info`, `version`, `inspect`) in the form that `--format` asks for.

use std::io::Write;

use serde_json::{Map, Value};

use super::table::align;
use crate::cli::error::Problem;
use crate::cli::template::{Purpose, Template, TemplateError, one_line_json};

/// What `--format` says.
#[derive(Debug)]
pub(crate) enum Format {
    /// The verb's own way: a table, or text.
    Own,
    /// One JSON object a line.
    Json,
    /// A template for each object.
    Template(Template),
    /// A template whose output is aligned below titles.
    Table(Template),
}

impl Format {
    /// Reads the value of `--format`: nothing, `table`, `json`, a template, or
    /// `table` and a template.
    ///
    /// # Errors
    /// If the template cannot be read.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, TemplateError> {
        match text.map(str::trim).unwrap_or_default() {
            "" | "table" => Ok(Self::Own),
            "json" => Ok(Self::Json),
            text => match text.strip_prefix("table ") {
                Some(template) => Ok(Self::Table(Template::parse(template.trim_start())?)),
                None => Ok(Self::Template(Template::parse(text)?)),
            },
        }
    }
}

/// A list of objects with the same fields.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Field and title of everything that a template may name.
    pub(crate) titles: &'static [(&'static str, &'static str)],
    /// The fields of the verb's own table.
    pub(crate) columns: Vec<&'static str>,
    /// The objects.
    pub(crate) rows: Vec<Value>,
}

impl Listing {
    /// Writes the list.
    ///
    /// # Errors
    /// If the template names what is not there, or `output` cannot be written.
    pub(crate) fn write(&self, format: &Format, output: &mut dyn Write) -> Result<(), Problem> {
        let text = match format {
            Format::Own => self.own_table(),
            Format::Json => self.rows.iter().map(|row| one_line_json(row) + "\n").collect(),
            Format::Template(template) => {
                let lines = self.rows.iter().map(|row| template.render(row, Purpose::Row));
                lines.map(|line| line.map(|line| line + "\n")).collect::<Result<String, _>>()?
            }
            Format::Table(template) => {
                let mut lines = vec![template.render(&self.header(), Purpose::Header)?];
                for row in &self.rows {
                    lines.push(template.render(row, Purpose::Row)?);
                }
                align(&lines)
            }
        };
        output.write_all(text.as_bytes())?;
        Ok(())
    }

    fn own_table(&self) -> String {
        let title = |field: &str| self.titles.iter().find(|(name, _)| *name == field).map_or("", |(_, title)| title);
        let mut lines = vec![self.columns.iter().map(|field| title(field)).collect::<Vec<_>>().join("\t")];
        let cell = |row: &Value, field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        for row in &self.rows {
            lines.push(self.columns.iter().map(|field| cell(row, field)).collect::<Vec<_>>().join("\t"));
        }
        align(&lines)
    }

    fn header(&self) -> Value {
        let titles = self.titles.iter().map(|(field, title)| ((*field).to_owned(), Value::from(*title)));
        Value::Object(titles.collect::<Map<_, _>>())
    }
}

/// JSON with docker's four blanks.
pub(crate) fn pretty(value: &Value) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(value, &mut serializer).map_err(|error| Problem::internal(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

/// Writes one object; `own` is the verb's own way to show it.
///
/// # Errors
/// If the template names what is not there, or `output` cannot be written.
pub(crate) fn write_object(
    object: &Value,
    format: &Format,
    own: impl FnOnce() -> String,
    output: &mut dyn Write,
) -> Result<(), Problem> {
    let text = match format {
        Format::Own => own(),
        Format::Json => one_line_json(object) + "\n",
        Format::Template(template) | Format::Table(template) => template.render(object, Purpose::Row)? + "\n",
    };
    output.write_all(text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(format: &str) -> Result<String, String> {
        let listing = Listing {
            titles: &[("ID", "IMAGE ID"), ("Tag", "TAG"), ("Label", "")],
            columns: vec!["Tag", "ID"],
            rows: vec![
                json!({"ID": "abc", "Tag": "12", "Label": {}}),
                json!({"ID": "def", "Tag": "latest", "Label": {}}),
            ],
        };
        let mut bytes = Vec::new();
        let format = Format::parse(Some(format)).map_err(|error| error.to_string())?;
        listing.write(&format, &mut bytes).map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form() {
        let own = "TAG       IMAGE ID\n12        abc\nlatest    def\n";
        for (format, text) in [
            ("", own),
            ("table", own),
            ("json", "{\"ID\":\"abc\",\"Tag\":\"12\"}\n{\"ID\":\"def\",\"Tag\":\"latest\"}\n"),
            ("{{json .}}", "{\"ID\":\"abc\",\"Tag\":\"12\"}\n{\"ID\":\"def\",\"Tag\":\"latest\"}\n"),
            ("{{.ID}}", "abc\ndef\n"),
            ("table {{.ID}}\\t{{upper .Tag}}", "IMAGE ID   TAG\nabc        12\ndef        LATEST\n"),
        ] {
            assert_eq!(shown(format).as_deref(), Ok(text), "{format}");
        }
        assert!(shown("{{.Nope}}").is_err());
    }
}
