//! A scope in the words of `org.freedesktop.systemd1`.

use zbus::zvariant::Value;

/// Shares of what all scopes below one slice compete for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Of processor time, 1 to 10000; 100 is what everybody has.
    pub cpu: Option<u64>,
    /// Of disks, likewise.
    pub io: Option<u64>,
}

/// A transient scope: processes that systemd did not start, in a cgroup of their own that is theirs to divide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Name of the unit, which ends with `.scope`.
    pub unit: String,
    /// What `systemctl status` shows.
    pub description: String,
    /// The slice that it is below; systemd makes it when it is not there.
    pub slice: String,
    /// The process that is moved into it. It has to live until the job is done.
    pub process: u32,
    /// What it competes with.
    pub weights: Weights,
}

/// No limit, as systemd writes it.
const INFINITY: u64 = u64::MAX;

impl Scope {
    /// The properties of the unit.
    pub(crate) fn properties(&self) -> Vec<(&'static str, Value<'_>)> {
        let mut properties = vec![
            ("Description", Value::from(self.description.as_str())),
            ("Slice", Value::from(self.slice.as_str())),
            ("PIDs", Value::from(vec![self.process])),
            // Also what keeps systemd from stopping the whole scope when the kernel kills one process for its memory.
            ("Delegate", Value::from(true)),
            ("CollectMode", Value::from("inactive-or-failed")),
            // The limit is kept below; systemd's default one would be there unasked for.
            ("TasksMax", Value::from(INFINITY)),
        ];
        properties.extend(self.weights.properties());
        properties
    }
}

impl Weights {
    pub(crate) fn properties(self) -> Vec<(&'static str, Value<'static>)> {
        let weights = [("CPUWeight", self.cpu), ("IOWeight", self.io)];
        weights.into_iter().filter_map(|(name, weight)| Some((name, Value::from(weight?)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_said_only_if_there_are_some() {
        let mut scope = Scope {
            unit: "x.scope".to_owned(),
            description: "a box".to_owned(),
            slice: "boxes.slice".to_owned(),
            process: 7,
            weights: Weights::default(),
        };
        let names = |scope: &Scope| scope.properties().iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let always = ["Description", "Slice", "PIDs", "Delegate", "CollectMode", "TasksMax"];
        assert_eq!(names(&scope), always);
        scope.weights = Weights { cpu: Some(39), io: Some(1) };
        assert_eq!(names(&scope)[always.len()..], ["CPUWeight", "IOWeight"]);
        assert_eq!(scope.properties()[2].1, Value::from(vec![7_u32]));
    }
}
