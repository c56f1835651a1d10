//! `pybox system df`.

use serde_json::{Value, json};

use super::{DONE, ps};
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, Listing};
use crate::cli::session::Session;
use crate::engine::api::{ContainerSummary, DiskUsage, GetDiskUsage, ImageRoom, VolumeRoom};

/// Show what images, containers and volumes take on the disk
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Sizes are those of unpacked files; layers that images share count once. Fields of a template: \
    .Type .TotalCount .Active .Size .Reclaimable"
)]
pub(crate) struct Args {
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,

    /// Print table, json, or a template as in '{{.Type}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const TITLES: [(&str, &str); 5] =
    [("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE")];

const IMAGES: [(&str, &str); 8] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];

const CONTAINERS: [(&str, &str); 8] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];

const VOLUMES: [(&str, &str); 3] = [("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")];

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let usage = session.call(GetDiskUsage {})?;
        if !self.verbose {
            list(&TITLES, summary(&usage)).write(&format, session.output())?;
            return Ok(DONE);
        }
        let now = human::now();
        let images = usage.images.iter().flat_map(|image| image_rows(image, now)).collect();
        let containers = usage.containers.iter().map(|container| container_row(container, now)).collect();
        let volumes = usage.volumes.iter().map(volume_row).collect();
        for (title, listing) in [
            ("Images space usage", list(&IMAGES, images)),
            ("Containers space usage", list(&CONTAINERS, containers)),
            ("Local Volumes space usage", list(&VOLUMES, volumes)),
        ] {
            if matches!(format, Format::Own) {
                writeln!(session.output(), "{title}:\n")?;
            }
            listing.write(&format, session.output())?;
            if matches!(format, Format::Own) {
                writeln!(session.output())?;
            }
        }
        Ok(DONE)
    }
}

fn list(titles: &'static [(&'static str, &'static str)], rows: Vec<Value>) -> Listing {
    Listing { titles, columns: titles.iter().map(|(field, _)| *field).collect(), rows }
}

fn summary(usage: &DiskUsage) -> Vec<Value> {
    let size = |container: &&ContainerSummary| container.size.unwrap_or_default();
    let alive = |container: &&ContainerSummary| container.lifecycle.is_alive();
    let containers: u64 = usage.containers.iter().map(|one| size(&one)).sum();
    let running: u64 = usage.containers.iter().filter(alive).map(|one| size(&one)).sum();
    let volume_size = |volume: &VolumeRoom| volume.size.unwrap_or_default();
    let volumes: u64 = usage.volumes.iter().map(volume_size).sum();
    let linked: u64 = usage.volumes.iter().filter(|volume| volume.links > 0).map(volume_size).sum();
    let active_images = usage.images.iter().filter(|image| image.image.containers > 0).count();
    let active_volumes = usage.volumes.iter().filter(|volume| volume.links > 0).count();
    vec![
        row("Images", (usage.images.len(), active_images), usage.layers, usage.unused_layers),
        row(
            "Containers",
            (usage.containers.len(), usage.containers.iter().filter(alive).count()),
            containers,
            containers - running,
        ),
        row("Local Volumes", (usage.volumes.len(), active_volumes), volumes, volumes - linked),
        row(
            "Build Cache",
            (count(usage.builds.entries), count(usage.builds.active)),
            usage.builds.size,
            usage.builds.size,
        ),
    ]
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn row(kind: &str, (total, active): (usize, usize), size: u64, reclaimable: u64) -> Value {
    let share = u128::from(reclaimable) * 100 / u128::from(size.max(1));
    let share = if size > 0 { format!(" ({share}%)") } else { String::new() };
    json!({
        "Type": kind,
        "TotalCount": total.to_string(),
        "Active": active.to_string(),
        "Size": human::size(size),
        "Reclaimable": format!("{}{share}", human::size(reclaimable)),
    })
}

fn image_rows(room: &ImageRoom, now: i64) -> Vec<Value> {
    let image = &room.image;
    let none = || "<none>".to_owned();
    let row = |repository: String, tag: String| {
        json!({
            "Repository": repository,
            "Tag": tag,
            "ID": image.id.short(),
            "CreatedSince": human::ago(image.created, now),
            "Size": human::size(image.size),
            "SharedSize": human::size(room.shared),
            "UniqueSize": human::size(room.unique),
            "Containers": image.containers.to_string(),
        })
    };
    if image.names.is_empty() {
        return vec![row(none(), none())];
    }
    let names = image.names.iter().map(|name| &name.reference);
    names.map(|name| row(name.familiar_name(), name.tag().map_or_else(none, ToOwned::to_owned))).collect()
}

fn container_row(container: &ContainerSummary, now: i64) -> Value {
    let volumes = container.mounts.iter().filter(|mount| !mount.starts_with('/')).count();
    json!({
        "ID": container.id.short(),
        "Image": container.image,
        "Command": format!("{:?}", human::ellipsis(&container.command.join(" "), 20)),
        "LocalVolumes": volumes.to_string(),
        "Size": container.size.map_or_else(|| "N/A".to_owned(), human::size),
        "RunningFor": human::ago(Some(container.created), now),
        "Status": ps::status(container, now),
        "Names": container.name,
    })
}

fn volume_row(volume: &VolumeRoom) -> Value {
    json!({
        "Name": volume.name,
        "Links": volume.links.to_string(),
        "Size": volume.size.map_or_else(|| "N/A".to_owned(), human::size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_dockers() {
        let row = row("Images", (5, 2), 16_430_000, 11_630_000);
        for (field, shown) in [
            ("Type", "Images"),
            ("TotalCount", "5"),
            ("Active", "2"),
            ("Size", "16.4MB"),
            ("Reclaimable", "11.6MB (70%)"),
        ] {
            assert_eq!(row.get(field).and_then(Value::as_str), Some(shown), "{field}");
        }
        let empty = summary(&DiskUsage::default());
        assert_eq!(empty.len(), 4);
        assert!(empty.iter().all(|row| row["Reclaimable"] == "0B"));
    }

    #[test]
    fn volumes_in_use_are_not_reclaimable() {
        let volume = |links, size| VolumeRoom { name: "v".into(), links, size: Some(size) };
        let usage = DiskUsage { volumes: vec![volume(0, 30), volume(2, 10)], ..DiskUsage::default() };
        let rows = summary(&usage);
        assert_eq!(rows[2]["Size"], "40B");
        assert_eq!((&rows[2]["Active"], &rows[2]["Reclaimable"]), (&json!("1"), &json!("30B (75%)")));
    }
}
