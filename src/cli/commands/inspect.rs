//! `pybox inspect`.

use clap::ValueEnum;
use serde_json::Value;

use super::{SHOW_CONTAINERS, SHOW_IMAGES, for_each};
use crate::cli::error::Problem;
use crate::cli::render::listing::{Format, pretty, write_object};
use crate::cli::session::Session;
use crate::engine::api::{Inspect, ObjectKind};

/// Show all that is known of containers and images
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints an array of JSON objects, with the names that docker gives their fields; with --format, \
    a line for each object.\n\nExamples:\n  \
    pybox inspect web\n  \
    pybox inspect --type image --format '{{.Config.Env}}' debian:12\n  \
    pybox inspect --format '{{json .State}}' web"
)]
pub(crate) struct Args {
    /// Names, or ids and their beginnings
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Print json, or a template as in '{{.Id}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Measure what containers have written, as .SizeRw and .SizeRootFs
    #[arg(short, long)]
    size: bool,

    /// Look for this kind of object only
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Container,
    Image,
}

impl Args {
    pub(super) fn execute(self, kind: Option<ObjectKind>, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let kind = kind.or(self.kind.map(|kind| match kind {
            Kind::Container => ObjectKind::Container,
            Kind::Image => ObjectKind::Image,
        }));
        let mut found = Vec::new();
        let done = for_each(&self.names, session, |name, session| {
            let hint = match kind {
                Some(ObjectKind::Container) => SHOW_CONTAINERS,
                Some(ObjectKind::Image) => SHOW_IMAGES,
                None => "pybox ps --all, or pybox images",
            };
            let object = session.call(Inspect { name: name.to_owned(), kind, sizes: self.size });
            let object = object.map_err(|problem| problem.hint_if_missing(hint))?;
            match format {
                Format::Own => found.push(object),
                _ => write_object(&object, &format, String::new, session.output())?,
            }
            Ok(())
        });
        if matches!(format, Format::Own) {
            // As docker: an array of what was found, also if that is nothing.
            let text = pretty(&Value::Array(found))?;
            session.output().write_all(&text)?;
        }
        done
    }
}
