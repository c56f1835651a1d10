//! `--format '{{…}}'`: the part of Go's text/template that people use with docker.
//!
//! Fields (`.A.B`), variables, pipes, `if`, `range`, `with`, and the functions
//! of [`functions`]. Values are JSON. What is left out: `define`, `template`,
//! `block`, `break`, `continue`, `js` and `call`.
//!
//! A field that does not exist is an error where the object is one of ours
//! (its keys begin with a capital), and `<no value>` in a map of labels.

mod evaluate;
mod functions;
mod lexer;
mod parser;
mod printf;

use serde_json::Value;

pub(crate) use functions::json as one_line_json;
use parser::Node;

/// Fields that only take an argument (`.Label "key"`), and that `json` leaves out.
pub(super) const METHODS: [&str; 1] = ["Label"];

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// Why a template cannot be read, or cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid template: {0}")]
pub(crate) struct TemplateError(String);

impl TemplateError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Whether a template makes a line of values, or the line above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Values.
    Row,
    /// Column titles: functions hand them on as they are.
    Header,
}

impl Template {
    /// Reads `text`; `\t` and `\n` may be typed as two characters, as docker allows.
    ///
    /// # Errors
    /// If an action is not closed, or holds what is no expression.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        Ok(Self { nodes: parser::parse(&lexer::split(&text)?)? })
    }

    /// Applies the template to `value`.
    ///
    /// # Errors
    /// If it names a field that is not there, or a function cannot take its arguments.
    pub(crate) fn render(&self, value: &Value, purpose: Purpose) -> Result<String, TemplateError> {
        evaluate::render(&self.nodes, value, purpose)
    }
}

#[cfg(test)]
mod tests;
