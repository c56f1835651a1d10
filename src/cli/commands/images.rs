//! `pybox images`.

use serde_json::{Value, json};

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, Listing};
use crate::cli::session::Session;
use crate::engine::api::{ImageName, ImageSummary, ListImages};
use crate::model::digest::Digest;
use crate::model::flags::instant;

/// List images
#[derive(Debug, clap::Args)]
#[command(after_help = "An image with several names has a line for each. With --format json, every line is one JSON \
    object. Fields of a template: .ID .Repository .Tag .Digest .CreatedSince .CreatedAt .Size .Containers\n\nExamples:\n  \
    pybox images debian\n  \
    pybox images --filter dangling=true --quiet\n  \
    pybox images --format 'table {{.Repository}}\\t{{.Size}}'")]
pub(crate) struct Args {
    /// Only images of this repository, with this tag if one is given; * and ? match anything
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,

    /// Show all images: always so, for docker's sake
    #[arg(short, long, hide = true)]
    all: bool,

    /// Only images with dangling=true|false, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// Print table, json, or a template as in '{{.ID}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show digests
    #[arg(long)]
    digests: bool,

    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,

    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
}

/// What can be named in a template, and the title above it.
const TITLES: [(&str, &str); 12] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
    ("Label", ""),
];

/// What stands where there is no name.
const NONE: &str = "<none>";

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let now = human::now();
        let mut filters = self.filters.iter().map(|text| Filter::parse(text, now)).collect::<Result<Vec<_>, _>>()?;
        filters.extend(self.repository.clone().map(Filter::Reference));
        let mut images = session.call(ListImages {})?;
        images.sort_by(|one, other| other.created.cmp(&one.created).then_with(|| one.id.cmp(&other.id)));
        let filters = filters.into_iter().map(|filter| filter.dated(&images)).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new();
        for image in &images {
            for name in names(image).filter(|name| filters.iter().all(|filter| filter.accepts(image, *name))) {
                rows.push((image, name));
            }
        }
        if self.quiet {
            // An id a line, though it has several names.
            rows.dedup_by_key(|(image, _)| &image.id);
            return self.write_ids(rows.iter().map(|(image, _)| &image.id), session);
        }
        let rows = rows.into_iter().map(|(image, name)| self.row(image, name, now)).collect();
        let mut columns = vec!["Repository", "Tag", "ID", "CreatedSince", "Size"];
        if self.digests {
            columns.insert(2, "Digest");
        }
        Listing { titles: &TITLES, columns, rows }.write(&format, session.output())?;
        Ok(DONE)
    }

    fn write_ids<'i>(&self, ids: impl Iterator<Item = &'i Digest>, session: &mut Session) -> Result<u8, Problem> {
        for id in ids {
            writeln!(session.output(), "{}", self.id(id))?;
        }
        Ok(DONE)
    }

    fn id(&self, id: &Digest) -> String {
        if self.no_trunc { id.to_string() } else { id.short().to_owned() }
    }

    fn row(&self, image: &ImageSummary, name: Option<&ImageName>, now: i64) -> Value {
        let digest = name.and_then(|name| name.digest.as_ref()).map_or_else(|| NONE.to_owned(), ToString::to_string);
        json!({
            "ID": self.id(&image.id),
            "Repository": name.map_or_else(|| NONE.to_owned(), |name| name.reference.familiar_name()),
            "Tag": name.and_then(|name| name.reference.tag()).unwrap_or(NONE),
            "Digest": digest,
            "CreatedSince": human::ago(image.created, now),
            "CreatedAt": human::date(image.created),
            "Size": human::size(image.size),
            "VirtualSize": human::size(image.size),
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
            "Containers": image.containers.to_string(),
            "Label": image.labels,
        })
    }
}

/// The image's names, or the one that nameless images have.
fn names(image: &ImageSummary) -> impl Iterator<Item = Option<&ImageName>> {
    let nameless = image.names.is_empty().then_some(None);
    image.names.iter().map(Some).chain(nameless)
}

/// A condition on an image and its name.
#[derive(Debug)]
enum Filter {
    Dangling(bool),
    Reference(String),
    Label(String, Option<String>),
    /// Made before or after the image of that name.
    BeforeImage(String),
    SinceImage(String),
    /// Made before or after that time.
    Before(i64),
    Since(i64),
}

impl Filter {
    fn parse(text: &str, now: i64) -> Result<Self, Problem> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        match (key, value) {
            ("dangling", "true" | "1") => Ok(Self::Dangling(true)),
            ("dangling", "false" | "0") => Ok(Self::Dangling(false)),
            ("reference", pattern) if !pattern.is_empty() => Ok(Self::Reference(pattern.to_owned())),
            ("label", label) if !label.is_empty() => Ok(match label.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(label.to_owned(), None),
            }),
            ("before", image) if !image.is_empty() => Ok(Self::BeforeImage(image.to_owned())),
            ("since", image) if !image.is_empty() => Ok(Self::SinceImage(image.to_owned())),
            ("until", time) => instant::parse("--filter", time, now)
                .map(Self::Before)
                .map_err(|error| Problem::user(error.to_string()).hint("pybox images --help")),
            _ => Err(Problem::user(format!(
                "invalid value {text:?} for --filter: expected dangling=true, dangling=false, reference=PATTERN, \
                 label=KEY[=VALUE], before=IMAGE, since=IMAGE or until=TIME"
            ))
            .hint("pybox images --help")),
        }
    }

    /// With the time of the image that it names.
    fn dated(self, images: &[ImageSummary]) -> Result<Self, Problem> {
        let time = |text: &str| {
            let found = images.iter().find(|image| is_called(image, text));
            let missing = || Problem::user(format!("no such image: {text}")).hint(super::SHOW_IMAGES);
            found.map(|image| image.created.unwrap_or_default()).ok_or_else(missing)
        };
        Ok(match &self {
            Self::BeforeImage(image) => Self::Before(time(image)?),
            Self::SinceImage(image) => Self::Since(time(image)?),
            _ => self,
        })
    }

    fn accepts(&self, image: &ImageSummary, name: Option<&ImageName>) -> bool {
        match self {
            Self::Before(time) => image.created.unwrap_or_default() < *time,
            Self::Since(time) => image.created.unwrap_or_default() > *time,
            // They have a time by now.
            Self::BeforeImage(_) | Self::SinceImage(_) => false,
            Self::Dangling(wanted) => name.is_none() == *wanted,
            Self::Label(key, value) => {
                image.labels.get(key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
            }
            Self::Reference(pattern) => name.is_some_and(|name| {
                let (familiar, full) = (name.reference.familiar_name(), name.reference.name());
                let tag = name.reference.tag().unwrap_or_default();
                let tagged = |name: &str| format!("{name}:{tag}");
                [tagged(&familiar), tagged(&full), familiar, full].iter().any(|name| matches(pattern, name))
            }),
        }
    }
}

/// Whether `text` is a name of the image, or its id or the beginning of that.
fn is_called(image: &ImageSummary, text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let reference = text.parse().ok();
    image.names.iter().any(|name| reference.as_ref() == Some(&name.reference))
        || (hex.len() >= 2 && image.id.hex().starts_with(hex))
}

/// Whether `pattern` matches all of `text`: `*` any characters but `/`, `?` one of them.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            let reach = text.find('/').unwrap_or(text.len());
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).filter(|at| *at <= reach);
            let rest = rest.as_str();
            ends.into_iter().any(|at| text.get(at..).is_some_and(|tail| matches(rest, tail)))
        }
        Some(first) => {
            let mut characters = text.chars();
            let same = characters.next().is_some_and(|c| c == first || (first == '?' && c != '/'));
            same && matches(rest.as_str(), characters.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, result) in [
            ("debian", "debian", true),
            ("debian", "debian:12", false),
            ("deb*:12", "debian:12", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("*b*d", "abcd", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), result, "{pattern} {text}");
        }
    }

    fn image(names: &[&str]) -> ImageSummary {
        let name = |name: &&str| ImageName { reference: name.parse().expect("reference"), digest: None };
        ImageSummary {
            id: Digest::sha256(&[0xab; 32]),
            names: names.iter().map(name).collect(),
            created: Some(0),
            size: 77_800_000,
            containers: 2,
            labels: [("k".to_owned(), "v".to_owned())].into(),
        }
    }

    #[test]
    fn rows_are_dockers() {
        let args = Args {
            repository: None,
            all: false,
            filters: vec![],
            format: None,
            digests: false,
            no_trunc: false,
            quiet: false,
        };
        let row = |name: &[&str], field: &str| {
            let image = image(name);
            let row = args.row(&image, image.names.first(), 3 * 86_400_000);
            row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        for (name, field, shown) in [
            (&["debian:12"][..], "Repository", "debian"),
            (&["debian:12"], "Tag", "12"),
            (&["127.0.0.1:5000/a/b"], "Repository", "127.0.0.1:5000/a/b"),
            (&["127.0.0.1:5000/a/b"], "Tag", "latest"),
            (&[], "Repository", "<none>"),
            (&[], "Tag", "<none>"),
            (&[], "ID", "abababababab"),
            (&[], "Digest", "<none>"),
            (&[], "CreatedSince", "3 days ago"),
            (&[], "Size", "77.8MB"),
            (&[], "Containers", "2"),
        ] {
            assert_eq!(row(name, field), shown, "{name:?} {field}");
        }
        // What a template may name is what rows have.
        let image = image(&[]);
        let row = args.row(&image, None, 0);
        assert!(TITLES.iter().all(|(field, _)| row.get(field).is_some()));
        assert_eq!(row.as_object().map(serde_json::Map::len), Some(TITLES.len()));
    }

    #[test]
    fn filters() {
        let image = image(&["127.0.0.1:5000/a/b:v1"]);
        let accepts = |text: &str| {
            let filter = Filter::parse(text, 1_000_000).and_then(|filter| filter.dated(std::slice::from_ref(&image)));
            let filter = filter.map_err(|problem| problem.to_string())?;
            Ok::<_, String>(filter.accepts(&image, image.names.first()))
        };
        for (text, result) in [
            ("dangling=true", false),
            ("dangling=false", true),
            ("label=k", true),
            ("label=k=v", true),
            ("label=k=w", false),
            ("reference=127.0.0.1:5000/a/b", true),
            ("reference=127.0.0.1:5000/a/*:v1", true),
            ("reference=a/b", false),
            ("before=abab", false),
            ("since=127.0.0.1:5000/a/b:v1", false),
            ("until=1s", true),
        ] {
            assert_eq!(accepts(text), Ok(result), "{text}");
        }
        assert!(accepts("size=3").is_err());
        assert!(accepts("dangling=maybe").is_err());
        assert!(accepts("before=nobody").is_err());
        assert!(accepts("until=soon").is_err());
    }
}
