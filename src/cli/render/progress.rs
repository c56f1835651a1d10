//! What is seen of a pull or a push: bars on a terminal, lines elsewhere, nothing with `--quiet`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::api::{Event, LayerProgress, LayerSize};
use crate::model::digest::Digest;

/// Redraws a second: enough to look alive, little enough for slow terminals.
const REDRAWS: u8 = 10;

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A bar a layer, on a terminal that can move its cursor.
    Bars,
    /// A line a layer, on standard error.
    Lines,
    /// Warnings only.
    Quiet,
}

/// Shows events on standard error.
pub(crate) struct Progress {
    manner: Manner,
    bars: Option<MultiProgress>,
    layers: BTreeMap<Digest, ProgressBar>,
}

impl Progress {
    /// Shows nothing until the first event.
    pub(crate) fn new(manner: Manner) -> Self {
        Self { manner, bars: None, layers: BTreeMap::new() }
    }

    /// Shows one event.
    pub(crate) fn show(&mut self, event: &Event) {
        match (event, self.manner) {
            (Event::Warning(text), _) => self.line(&format!("pybox: warning: {text}")),
            (_, Manner::Quiet) => {}
            (Event::Resolving(reference), _) => self.line(&format!("pulling {reference}")),
            (Event::Sending(reference), _) => self.line(&format!("pushing {reference}")),
            (Event::Layers(layers), Manner::Bars) => self.add_bars(layers),
            (Event::Layer { digest, progress }, Manner::Bars) => self.move_bar(digest, progress),
            (Event::Layer { digest, progress }, Manner::Lines) => {
                if let Some(word) = word(progress) {
                    self.line(&format!("{}: {word}", digest.short()));
                }
            }
            (Event::Step { number, total, text, cached, stage }, _) => {
                let cached = if *cached { " (cached)" } else { "" };
                let stage = stage.as_ref().map(|stage| format!(" {stage}")).unwrap_or_default();
                self.line(&format!("[{number}/{total}{stage}] {text}{cached}"));
            }
            (Event::Said { stage, line }, _) => self.line(&format!("{stage} | {line}")),
            (Event::Layers(_), Manner::Lines) | (Event::Committing, _) => {}
        }
    }

    /// Leaves the terminal to others; what was drawn stays.
    pub(crate) fn finish(&mut self) {
        for bar in self.layers.values().filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }

    /// A line above the bars. Standard error may be closed; a pull goes on.
    fn line(&self, text: &str) {
        let drawn = self.bars.as_ref().is_some_and(|bars| bars.println(text).is_ok());
        if !drawn {
            let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
        }
    }

    fn add_bars(&mut self, layers: &[LayerSize]) {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS);
        let bars = self.bars.get_or_insert_with(|| MultiProgress::with_draw_target(target));
        for layer in layers {
            let bar = ProgressBar::new(layer.size).with_style(style()).with_prefix(layer.digest.short().to_owned());
            let bar = bars.add(bar);
            bar.set_message("waiting");
            self.layers.insert(layer.digest.clone(), bar);
        }
    }

    fn move_bar(&mut self, digest: &Digest, progress: &LayerProgress) {
        let Some(bar) = self.layers.get(digest) else { return };
        if let LayerProgress::Downloaded(bytes) | LayerProgress::Uploaded(bytes) = progress {
            bar.set_message("");
            bar.set_position(*bytes);
        }
        match (progress, word(progress)) {
            (
                LayerProgress::Present | LayerProgress::There | LayerProgress::Mounted(_) | LayerProgress::Done,
                Some(word),
            ) => {
                bar.set_position(bar.length().unwrap_or_default());
                bar.finish_with_message(word);
            }
            (_, Some(word)) => bar.set_message(word),
            (_, None) => {}
        }
    }
}

/// What is said of a layer, where there is something to say.
fn word(progress: &LayerProgress) -> Option<String> {
    match progress {
        LayerProgress::Present => Some("already here".to_owned()),
        LayerProgress::Downloaded(_) | LayerProgress::Uploaded(_) => None,
        LayerProgress::There => Some("already there".to_owned()),
        LayerProgress::Mounted(from) => Some(format!("mounted from {from}")),
        LayerProgress::Retrying { attempt, why } => Some(format!("attempt {attempt}: {why}")),
        LayerProgress::Unpacking => Some("unpacking".to_owned()),
        LayerProgress::Done => Some("done".to_owned()),
    }
}

fn style() -> ProgressStyle {
    let template =
        "{prefix} {bar:24} {decimal_bytes:>9}/{decimal_total_bytes:<9} {decimal_bytes_per_sec:>12} {wide_msg}";
    // The template is ours and correct; were it not, the default would do.
    ProgressStyle::with_template(template)
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "))
}
