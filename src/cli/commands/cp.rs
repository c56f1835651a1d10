//! `pybox cp`.

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::{CopyFiles, Place};

/// Copy files between a container and the host
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "pybox cp [OPTIONS] CONTAINER:PATH PATH|-\n       pybox cp [OPTIONS] PATH|- CONTAINER:PATH",
    after_help = "A directory is copied with all in it; `DIR/.` is what is in it. `-` is an archive (tar) on standard \
    input or output. The container need not run. Files are root's in a container, and yours on the host.\n\nExamples:\n  \
    pybox cp web:/etc/nginx/nginx.conf .\n  \
    pybox cp site/. web:/srv/www\n  \
    pybox cp web:/var/log - | tar tv"
)]
pub(crate) struct Args {
    /// What is copied: CONTAINER:PATH, a path of the host, or -
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Where it goes: a path of the host, CONTAINER:PATH, or -
    #[arg(value_name = "TARGET")]
    target: String,

    /// Keep owners: of ids that the container has
    #[arg(short, long)]
    archive: bool,

    /// Copy what a link points to, not the link
    #[arg(short = 'L', long)]
    follow_link: bool,

    /// Print nothing: always so, for docker's sake
    #[arg(short, long, hide = true)]
    quiet: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let (from, to) = (place(&self.source)?, place(&self.target)?);
        let copy = CopyFiles { from, to, archive: self.archive, follow: self.follow_link };
        session.call(copy).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(DONE)
    }
}

/// Docker's rule: what begins with a slash or a dot is of the host, else a colon ends the container's name.
fn place(text: &str) -> Result<Place, Problem> {
    if text == "-" {
        return Ok(Place::Standard);
    }
    if !text.starts_with(['/', '.'])
        && let Some((name, path)) = text.split_once(':').filter(|(name, _)| !name.is_empty() && !name.contains('/'))
    {
        let path = if path.is_empty() { "/" } else { path };
        let slash = if path.starts_with('/') { "" } else { "/" };
        return Ok(Place::Container { name: name.to_owned(), path: format!("{slash}{path}") });
    }
    if text.is_empty() {
        return Err(Problem::user("a path is empty").hint("pybox cp --help"));
    }
    // Not made plain: a slash or a dot at the end means something.
    let here = std::env::current_dir().map_err(|error| Problem::user(format!("the current directory: {error}")))?;
    let here = here.to_str().ok_or_else(|| Problem::user("the current directory has a name that is no text"))?;
    Ok(Place::Host(if text.starts_with('/') { text.to_owned() } else { format!("{here}/{text}") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        let container = |name: &str, path: &str| Place::Container { name: name.to_owned(), path: path.to_owned() };
        let place = |text: &str| place(text).expect("a place");
        assert_eq!(place("-"), Place::Standard);
        assert_eq!(place("web:/etc/"), container("web", "/etc/"));
        assert_eq!(place("web:etc/."), container("web", "/etc/."));
        assert_eq!(place("web:"), container("web", "/"));
        assert_eq!(place("/a:b"), Place::Host("/a:b".to_owned()));
        for text in ["./a:b", "dir/a:b", "file", ":x", "../x/"] {
            assert!(
                matches!(place(text), Place::Host(path) if path.starts_with('/') && path.ends_with(text)),
                "{text}"
            );
        }
        assert!(super::place("").is_err());
    }
}
