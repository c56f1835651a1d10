//! Walking the tree.

use serde_json::Value;

use super::functions::{self, print, truth};
use super::parser::{Node, Operand, Pipeline};
use super::{METHODS, Purpose, TemplateError};

/// Applies `nodes` to `root`.
pub(super) fn render(nodes: &[Node], root: &Value, purpose: Purpose) -> Result<String, TemplateError> {
    let mut walk = Walk { purpose, variables: vec![(String::new(), root.clone())], output: String::new() };
    walk.nodes(nodes, root)?;
    Ok(walk.output)
}

struct Walk {
    purpose: Purpose,
    /// The innermost last; `$` is the one without name.
    variables: Vec<(String, Value)>,
    output: String,
}

impl Walk {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                match pipeline.variables.first() {
                    Some(name) if pipeline.declares => self.variables.push((name.clone(), value)),
                    Some(name) => self.assign(name, value)?,
                    None => self.output.push_str(&print(&value)),
                }
            }
            Node::If { condition, body, otherwise } => {
                let value = self.pipeline(condition, dot)?;
                let chosen = if truth(&value) { body } else { otherwise };
                self.scoped(condition, None, &value, |walk| walk.nodes(chosen, dot))?;
            }
            Node::With { value, body, otherwise } => {
                let dot_inside = self.pipeline(value, dot)?;
                if truth(&dot_inside) {
                    self.scoped(value, None, &dot_inside, |walk| walk.nodes(body, &dot_inside))?;
                } else {
                    self.scoped(value, None, &dot_inside, |walk| walk.nodes(otherwise, dot))?;
                }
            }
            Node::Range { over, body, otherwise } => self.range(over, body, (otherwise, dot))?,
        }
        Ok(())
    }

    fn range(&mut self, over: &Pipeline, body: &[Node], outside: (&[Node], &Value)) -> Result<(), TemplateError> {
        let (otherwise, dot) = outside;
        let items: Vec<(Value, Value)> = match self.pipeline(over, dot)? {
            Value::Array(items) => items.into_iter().enumerate().map(|(key, item)| (Value::from(key), item)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, item)| (Value::String(key), item)).collect(),
            Value::Null => Vec::new(),
            // A column's title stands for the list that the rows have.
            Value::String(_) if self.purpose == Purpose::Header => return Ok(()),
            other => return Err(TemplateError::new(format!("range cannot go over {}", print(&other)))),
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        items.iter().try_for_each(|(key, item)| self.scoped(over, Some(key), item, |walk| walk.nodes(body, item)))
    }

    /// Does `work` with the variables of `head` set, and forgets those that were declared in it.
    fn scoped(
        &mut self,
        head: &Pipeline,
        key: Option<&Value>,
        value: &Value,
        work: impl FnOnce(&mut Self) -> Result<(), TemplateError>,
    ) -> Result<(), TemplateError> {
        let outer = self.variables.len();
        match (head.variables.as_slice(), key) {
            ([key_name, value_name], Some(key)) => {
                self.variables.push((key_name.clone(), key.clone()));
                self.variables.push((value_name.clone(), value.clone()));
            }
            ([name, ..], _) => self.variables.push((name.clone(), value.clone())),
            ([], _) => {}
        }
        let done = work(self);
        self.variables.truncate(outer);
        done
    }

    fn assign(&mut self, name: &str, value: Value) -> Result<(), TemplateError> {
        let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        let (_, place) = known.ok_or_else(|| TemplateError::new(format!("there is no variable ${name}")))?;
        *place = value;
        Ok(())
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(&self, command: &[Operand], piped: Option<Value>, dot: &Value) -> Result<Value, TemplateError> {
        let Some((first, rest)) = command.split_first() else { return Ok(Value::Null) };
        let mut arguments = rest.iter().map(|operand| self.operand(operand, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(piped);
        match first {
            Operand::Function(name) => functions::call(name, arguments, self.purpose),
            other => {
                let value = self.operand(other, dot)?;
                match (arguments.is_empty(), value) {
                    (true, value) => Ok(value),
                    // `.Label "key"`: the only calls of docker's objects are look-ups.
                    (false, value @ (Value::Object(_) | Value::Null)) => {
                        arguments.insert(0, value);
                        functions::call("index", arguments, self.purpose)
                    }
                    (false, value) if self.purpose == Purpose::Header => Ok(value),
                    (false, value) => Err(TemplateError::new(format!("{} takes no arguments", print(&value)))),
                }
            }
        }
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Field(path) => follow(dot, path),
            Operand::Variable(name, path) => {
                let value = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = value.ok_or_else(|| TemplateError::new(format!("there is no variable ${name}")))?;
                follow(value, path)
            }
            Operand::Group(pipeline, path) => follow(&self.pipeline(pipeline, dot)?, path),
            Operand::Function(name) => functions::call(name, Vec::new(), self.purpose),
        }
    }
}

fn follow(value: &Value, path: &[String]) -> Result<Value, TemplateError> {
    let mut here = value;
    for name in path {
        here = match here {
            Value::Object(map) => match map.get(name) {
                Some(inner) => inner,
                None if is_map(map) => &Value::Null,
                None => return Err(unknown_field(name, map)),
            },
            Value::Null => &Value::Null,
            other => return Err(TemplateError::new(format!("{} has no field {name}", print(other)))),
        };
    }
    Ok(here.clone())
}

/// Whether an object's keys are data (labels, ports) and not names of ours.
fn is_map(map: &serde_json::Map<String, Value>) -> bool {
    !map.keys().all(|key| key.starts_with(|c: char| c.is_ascii_uppercase())) || map.is_empty()
}

fn unknown_field(name: &str, map: &serde_json::Map<String, Value>) -> TemplateError {
    let fields: Vec<String> =
        map.keys().filter(|key| !METHODS.contains(&key.as_str())).map(|key| format!(".{key}")).collect();
    TemplateError::new(format!("there is no field .{name}; the fields are {}", fields.join(" ")))
}
