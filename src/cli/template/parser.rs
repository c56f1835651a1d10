//! The tree of a template.

use serde_json::Value;

use super::TemplateError;
use super::lexer::{Piece, Token};

/// How deep blocks and parentheses may stand in each other.
const DEPTH: u32 = 50;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// To be copied.
    Text(String),
    /// To be printed, unless it sets a variable.
    Action(Pipeline),
    /// `if … else … end`; `else if` is an `If` in `otherwise`.
    If { condition: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    /// `range … else … end`.
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    /// `with … else … end`.
    With { value: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands, each with the last one's value as its last argument.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Variables that are set: one, or key and value of a `range`.
    pub(super) variables: Vec<String>,
    /// Whether they are new (`:=`) or exist (`=`).
    pub(super) declares: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A word of a command.
#[derive(Debug)]
pub(super) enum Operand {
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Literal(Value),
    Function(String),
    Group(Box<Pipeline>, Vec<String>),
}

/// Makes the tree of `pieces`.
pub(super) fn parse(pieces: &[Piece]) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { pieces, next: 0 };
    let (nodes, stop) = parser.block(0)?;
    match stop {
        Stop::EndOfText => Ok(nodes),
        _ => Err(TemplateError::new("end or else without if, range or with")),
    }
}

struct Parser<'p> {
    pieces: &'p [Piece],
    next: usize,
}

/// What a block ended with.
enum Stop<'p> {
    EndOfText,
    End,
    /// With what follows the word: nothing, or `if …`.
    Else(&'p [Token]),
}

impl<'p> Parser<'p> {
    fn block(&mut self, depth: u32) -> Result<(Vec<Node>, Stop<'p>), TemplateError> {
        let mut nodes = Vec::new();
        if depth > DEPTH {
            return Err(TemplateError::new("blocks stand too deep in each other"));
        }
        while let Some(piece) = self.pieces.get(self.next) {
            self.next += 1;
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text.clone())),
                Piece::Action(tokens) => match (keyword(tokens), tokens.get(1..).unwrap_or_default()) {
                    (Some("end"), []) => return Ok((nodes, Stop::End)),
                    (Some("else"), rest) => return Ok((nodes, Stop::Else(rest))),
                    (Some(word @ ("if" | "range" | "with")), rest) => nodes.push(self.branch(word, rest, depth)?),
                    _ => nodes.push(Node::Action(pipeline(tokens)?)),
                },
            }
        }
        Ok((nodes, Stop::EndOfText))
    }

    fn branch(&mut self, word: &str, head: &[Token], depth: u32) -> Result<Node, TemplateError> {
        let head = pipeline(head)?;
        let (body, stop) = self.block(depth + 1)?;
        let otherwise = match stop {
            Stop::End => Vec::new(),
            Stop::EndOfText => return Err(TemplateError::new(format!("{word} without end"))),
            // `else if` shares the `end` of the first `if`.
            Stop::Else(rest) => match (keyword(rest), rest.get(1..)) {
                (Some(inner @ ("if" | "with")), Some(tokens)) => vec![self.branch(inner, tokens, depth + 1)?],
                (None, None) => self.last_block(word, depth)?,
                _ => return Err(TemplateError::new("else takes nothing, or if")),
            },
        };
        Ok(match word {
            "if" => Node::If { condition: head, body, otherwise },
            "range" => Node::Range { over: head, body, otherwise },
            _ => Node::With { value: head, body, otherwise },
        })
    }

    fn last_block(&mut self, word: &str, depth: u32) -> Result<Vec<Node>, TemplateError> {
        match self.block(depth + 1)? {
            (nodes, Stop::End) => Ok(nodes),
            _ => Err(TemplateError::new(format!("{word} without end"))),
        }
    }
}

fn keyword(tokens: &[Token]) -> Option<&str> {
    match tokens.first() {
        Some(Token::Word(word)) => Some(word),
        _ => None,
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let (variables, declares, tokens) = match tokens {
        [Token::Variable(name, path), set @ (Token::Declare | Token::Assign), rest @ ..] if path.is_empty() => {
            (vec![name.clone()], *set == Token::Declare, rest)
        }
        [Token::Variable(key, _), Token::Comma, Token::Variable(value, _), Token::Declare, rest @ ..] => {
            (vec![key.clone(), value.clone()], true, rest)
        }
        _ => (Vec::new(), false, tokens),
    };
    let mut rest = tokens;
    let commands = commands(&mut rest, 0)?;
    if rest.is_empty() {
        Ok(Pipeline { variables, declares, commands })
    } else {
        Err(TemplateError::new("unexpected )"))
    }
}

/// Reads up to the end or to a `)`, which is left in `tokens`.
fn commands(tokens: &mut &[Token], depth: u32) -> Result<Vec<Vec<Operand>>, TemplateError> {
    if depth > DEPTH {
        return Err(TemplateError::new("parentheses stand too deep in each other"));
    }
    let mut commands = Vec::new();
    let mut command = Vec::new();
    while let Some((token, rest)) = tokens.split_first() {
        if matches!(token, Token::Close(_)) {
            break;
        }
        *tokens = rest;
        match token {
            Token::Pipe => commands.push(std::mem::take(&mut command)),
            Token::Open => command.push(group(tokens, depth)?),
            Token::Field(path) => command.push(Operand::Field(path.clone())),
            Token::Variable(name, path) => command.push(Operand::Variable(name.clone(), path.clone())),
            Token::Literal(value) => command.push(Operand::Literal(value.clone())),
            Token::Word(name) => command.push(Operand::Function(name.clone())),
            Token::Comma | Token::Declare | Token::Assign | Token::Close(_) => {
                return Err(TemplateError::new("unexpected ',' or '='"));
            }
        }
    }
    commands.push(command);
    if commands.iter().any(Vec::is_empty) {
        return Err(TemplateError::new("an expression is missing"));
    }
    Ok(commands)
}

fn group(tokens: &mut &[Token], depth: u32) -> Result<Operand, TemplateError> {
    let commands = commands(tokens, depth + 1)?;
    match tokens.split_first() {
        Some((Token::Close(path), rest)) => {
            *tokens = rest;
            Ok(Operand::Group(Box::new(Pipeline { variables: Vec::new(), declares: false, commands }), path.clone()))
        }
        _ => Err(TemplateError::new("( without )")),
    }
}
