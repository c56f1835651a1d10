//! Who acts and from where: ids, directories, other processes, programs.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command as Program, Output, Stdio};

use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::{Command, Failure, Outcome, Words, World, data, ok};
use crate::text;

pub(super) const TABLE: &[(&str, Command)] = &[
    ("as", become_user),
    ("root", become_root),
    ("cd", cd),
    ("pwd", pwd),
    ("child", child),
    ("exec", exec),
    ("sh", sh),
    ("perl", perl),
    ("install", install),
    ("running", running),
];

/// `as UID GID [GROUP…]`: this thread, as the kernel sees it; no rights of root are left in effect.
fn become_user(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let id = |words: &mut Words<'_>| u32::try_from(words.number()?).map_err(|error| Failure::Said(error.to_string()));
    let (uid, gid) = (Uid::from_raw(id(words)?), Gid::from_raw(id(words)?));
    let mut groups = vec![gid];
    while !words.words.is_empty() {
        groups.push(Gid::from_raw(id(words)?));
    }
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, Gid::ROOT)?;
    // The saved id is the way back.
    set_thread_res_uid(uid, uid, Uid::ROOT)?;
    ok()
}

fn become_root(_: &mut World, _: &mut Words<'_>) -> Outcome {
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_groups(&[Gid::ROOT])?;
    ok()
}

fn cd(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let (dir, path) = world.at(words.next()?)?;
    if path.is_empty() {
        rustix::process::fchdir(dir)?;
    } else {
        rustix::process::chdir(path)?;
    }
    ok()
}

/// The last part of the current directory's path.
fn pwd(_: &mut World, _: &mut Words<'_>) -> Outcome {
    let path = rustix::process::getcwd(Vec::new())?;
    let last = path.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    Ok(text::name(last))
}

/// `child STEP ; STEP`: in another process, with its answer; see `inside::child`.
fn child(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let steps = words.line.split_once("child ").map(|(_, steps)| steps).unwrap_or_default();
    words.words = &[];
    let mut program = crate::inside::again("child")?;
    let output = program.env(crate::inside::CHILD, steps).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let answers = said.lines().filter_map(|line| line.split_once(crate::inside::ANSWER).map(|(_, answer)| answer));
    Ok(answers.collect::<Vec<_>>().join(" ; "))
}

fn ended(output: &Output) -> String {
    let status = output.status;
    let how = status.code().map_or_else(|| format!("signal {}", status.signal().unwrap_or(0)), |code| code.to_string());
    let out = if output.stdout.is_empty() { String::new() } else { format!(" {}", text::show(&output.stdout)) };
    let error = if output.stderr.is_empty() { String::new() } else { format!(" error {}", text::show(&output.stderr)) };
    format!("{how}{out}{error}")
}

/// `exec PATH WORD…`: exit code and what it said.
fn exec(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let path = std::env::current_dir()?.join(data::path(words.next()?));
    let mut program = Program::new(path);
    while let Some(word) = words.optional_text() {
        program.arg(word);
    }
    Ok(ended(&program.stdin(Stdio::null()).output()?))
}

/// `sh SCRIPT`
fn sh(_: &mut World, words: &mut Words<'_>) -> Outcome {
    Ok(ended(&Program::new("/bin/sh").arg("-c").arg(words.text()?).stdin(Stdio::null()).output()?))
}

/// `perl SCRIPT`: for what a shell cannot do.
fn perl(_: &mut World, words: &mut Words<'_>) -> Outcome {
    Ok(ended(&Program::new("/usr/bin/perl").arg("-e").arg(words.text()?).stdin(Stdio::null()).output()?))
}

/// `install SOURCE PATH MODE`: a program of the host.
fn install(_: &mut World, words: &mut Words<'_>) -> Outcome {
    let source = data::path(words.next()?);
    let target = data::path(words.next()?);
    std::fs::copy(source, target)?;
    rustix::fs::chmod(target, words.mode()?)?;
    ok()
}

/// `running PATH WORD STEP`: the answer to the step while the program runs.
fn running(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let path = std::env::current_dir()?.join(data::path(words.next()?));
    let mut program = Program::new(path).arg(words.text()?).stdin(Stdio::null()).spawn()?;
    let answer = world.step(&words.rest());
    program.kill()?;
    program.wait()?;
    answer
}
