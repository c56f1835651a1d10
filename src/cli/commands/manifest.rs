//! `pybox manifest create`, `add`, `annotate`, `inspect`, `push`, `remove`, `rm`.

use std::collections::BTreeMap;

use super::{DONE, for_each, push, reference};
use crate::cli::error::Problem;
use crate::cli::render::listing::pretty;
use crate::cli::session::{Session, progress_manner};
use crate::engine::api::{
    ChangeList, Inspect as InspectObject, InspectList, ListChange, MakeList, MemberFacts, ObjectKind, RemoveImage,
};
use crate::model::flags::label;

/// The command that shows which lists and images there are.
const SHOW: &str = "pybox images";

/// Make and push lists of images for several platforms
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Manifest {
    Create(Create),
    Add(Add),
    Annotate(Annotate),
    Inspect(Inspect),
    Push(Push),
    Remove(Remove),
    Rm(Rm),
}

/// Make a list
#[derive(Debug, clap::Args)]
#[command(after_help = "An image that is not here is pulled. The list is kept among the images; who runs it runs the \
    image for this machine.\n\nExamples:\n  \
    pybox manifest create app:1 app:1-amd64 app:1-arm64\n  \
    pybox manifest push app:1 registry.example/app:1")]
pub(crate) struct Create {
    /// Its name
    #[arg(value_name = "LIST")]
    list: String,

    /// What is in it from the start
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,

    /// Add to the list that has the name
    #[arg(short, long)]
    amend: bool,

    /// Take all platforms of an image that are here
    #[arg(long)]
    all: bool,
}

/// Add an image to a list
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,

    /// The image; pulled if it is not here
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Take all platforms of it that are here
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    facts: Facts,
}

/// Say of an image in a list what it is for
#[derive(Debug, clap::Args)]
pub(crate) struct Annotate {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,

    /// The image, or the digest of its manifest
    #[arg(value_name = "IMAGE|DIGEST")]
    image: String,

    #[command(flatten)]
    facts: Facts,
}

/// What is said of an image.
#[derive(Debug, clap::Args)]
struct Facts {
    /// Architecture, as in arm64
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// Operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Variant of the architecture, as in v7
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,

    /// Version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,

    /// What the operating system has to have
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,

    /// What the processor has to have
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    features: Vec<String>,

    /// Annotation of the entry
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,
}

/// Print what a name means: a list, or a manifest
#[derive(Debug, clap::Args)]
#[command(after_help = "What is not here is asked of its registry.")]
pub(crate) struct Inspect {
    /// A list or an image
    #[arg(value_name = "NAME")]
    name: String,
}

/// Send a list to a registry, and all images in it
#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,

    // No doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "DESTINATION", help = "The names that it gets: [REGISTRY/]REPOSITORY[:TAG]")]
    destinations: Vec<String>,

    /// Remove the list here when it is there
    #[arg(short, long, visible_alias = "rm")]
    purge: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,

    /// All images go in any case
    #[arg(long, hide = true)]
    all: bool,
}

/// Take an image out of a list
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,

    /// The image, or the digest of its manifest
    #[arg(value_name = "IMAGE|DIGEST")]
    image: String,
}

/// Remove lists; images in them stay as long as they have names of their own
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Lists
    #[arg(required = true, value_name = "LIST")]
    lists: Vec<String>,
}

impl Manifest {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        match self {
            Self::Create(args) => args.execute(session),
            Self::Add(Add { list, image, all, facts }) => {
                let facts = facts.read("pybox manifest add --help")?;
                change(session, &list, ListChange::Add { image, all, facts })
            }
            Self::Annotate(Annotate { list, image, facts }) => {
                let facts = facts.read("pybox manifest annotate --help")?;
                change(session, &list, ListChange::Annotate { image, facts })
            }
            Self::Inspect(args) => {
                let shown = session.call(InspectList { name: args.name })?;
                session.output().write_all(&pretty(&shown.document)?)?;
                writeln!(session.output())?;
                Ok(DONE)
            }
            Self::Push(args) => args.execute(session),
            Self::Remove(Remove { list, image }) => change(session, &list, ListChange::Remove { image }),
            Self::Rm(args) => args.execute(session),
        }
    }
}

impl Create {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let list = name(&self.list, "pybox manifest create --help")?;
        let question = MakeList { list, images: self.images, amend: self.amend, all: self.all };
        let made = session.call_with(question, progress_manner())?;
        writeln!(session.output(), "{}", made.digest)?;
        Ok(DONE)
    }
}

impl Push {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let list = name(&self.list, "pybox manifest push --help")?;
        let code = push::send(session, push::Sent { image: self.list, names: &self.destinations, quiet: self.quiet })?;
        if self.purge {
            session.call(RemoveImage { name: list.to_string(), force: false })?;
        }
        Ok(code)
    }
}

impl Rm {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        for_each(&self.lists, session, |list, session| {
            let name = name(list, "pybox manifest rm --help")?.to_string();
            let question = InspectObject { name: name.clone(), kind: Some(ObjectKind::Image), sizes: false };
            let document = session.call(question).map_err(|problem| problem.hint_if_missing(SHOW))?;
            // A list is its own configuration.
            if document.get("Id") != document.get("Digest") {
                return Err(Problem::user(format!("{list} is an image and no list of images"))
                    .hint(format!("pybox rmi {list}")));
            }
            session.call(RemoveImage { name, force: false }).map_err(|problem| problem.hint_if_missing(SHOW))?;
            writeln!(session.output(), "{list}")?;
            Ok(())
        })
    }
}

impl Facts {
    fn read(self, help: &str) -> Result<MemberFacts, Problem> {
        let annotation =
            |text: &String| label::parse(text).map_err(|error| Problem::user(error.to_string()).hint(help));
        let annotations: BTreeMap<String, String> =
            self.annotations.iter().map(annotation).collect::<Result<_, Problem>>()?;
        Ok(MemberFacts {
            os: self.os,
            architecture: self.arch,
            variant: self.variant,
            os_version: self.os_version,
            os_features: self.os_features,
            features: self.features,
            annotations,
        })
    }
}

fn change(session: &mut Session, list: &str, change: ListChange) -> Result<u8, Problem> {
    let list = name(list, "pybox manifest --help")?;
    let changed = session.call_with(ChangeList { list, change }, progress_manner())?;
    writeln!(session.output(), "{}", changed.digest)?;
    Ok(DONE)
}

/// The name of a list, which has no digest: that changes with all that is done to it.
fn name(text: &str, help: &str) -> Result<crate::model::reference::Reference, Problem> {
    let name = reference(text, help)?;
    if name.digest().is_some() {
        return Err(Problem::user(format!("invalid name {text:?}: a list is named by a tag")).hint(help));
    }
    Ok(name)
}
