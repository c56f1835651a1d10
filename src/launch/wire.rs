//! What parent and child say to each other: one byte down, eight bytes up.

/// From the parent: the id maps are written.
pub const MAPPED: u8 = b'M';
/// From the parent: whatever had to be attached from outside is there; go on.
pub const GO: u8 = b'G';

/// The most bytes of a packet in either direction.
pub const PACKET: usize = 8;

/// From the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The step of this number failed with this errno.
    Failed {
        /// Index into the plan's steps; [`EXEC`] is the execution itself.
        step: u16,
        /// As of errno(3).
        errno: i32,
    },
    /// The terminal's controlling side is on board of this packet.
    Terminal,
    /// The device of a served tree is on board of this packet.
    Device,
    /// The other end of an interface is on board of this packet.
    Interface,
    /// The process that goes on in the container's namespaces has been made; its pidfd is on board.
    Born {
        /// Its pid, as the parent sees it.
        pid: u32,
    },
    /// The program below a reaper has been forked; its pidfd is on board.
    Program,
    /// The filter that asks about calls is loaded; where it asks is on board.
    Listener,
    /// Only the execution is left.
    Ready,
}

/// The step number that stands for `execve` itself.
pub const EXEC: u16 = u16::MAX;

impl Report {
    /// The packet. Does not allocate.
    pub fn encode(self) -> [u8; PACKET] {
        let (tag, step, errno) = match self {
            Self::Failed { step, errno } => (b'F', step, errno),
            Self::Terminal => (b'T', 0, 0),
            Self::Born { pid } => (b'B', 0, pid.cast_signed()),
            Self::Device => (b'D', 0, 0),
            Self::Interface => (b'I', 0, 0),
            Self::Program => (b'P', 0, 0),
            Self::Listener => (b'L', 0, 0),
            Self::Ready => (b'R', 0, 0),
        };
        let [s0, s1] = step.to_le_bytes();
        let [e0, e1, e2, e3] = errno.to_le_bytes();
        [tag, 0, s0, s1, e0, e1, e2, e3]
    }

    /// The report in `packet`; none if it is not one of ours.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let [tag, 0, s0, s1, e0, e1, e2, e3] = *packet else { return None };
        match tag {
            b'F' => {
                Some(Self::Failed { step: u16::from_le_bytes([s0, s1]), errno: i32::from_le_bytes([e0, e1, e2, e3]) })
            }
            b'T' => Some(Self::Terminal),
            b'B' => Some(Self::Born { pid: u32::from_le_bytes([e0, e1, e2, e3]) }),
            b'D' => Some(Self::Device),
            b'I' => Some(Self::Interface),
            b'P' => Some(Self::Program),
            b'L' => Some(Self::Listener),
            b'R' => Some(Self::Ready),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_wire() {
        let failed = Report::Failed { step: EXEC, errno: 2 };
        let born = Report::Born { pid: 4_194_304 };
        let on_board = [Report::Terminal, Report::Device, Report::Interface, Report::Program, Report::Listener];
        for report in on_board.into_iter().chain([Report::Ready, failed, born]) {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(b"x"), None);
        assert_eq!(Report::decode(b"X\0\0\0\0\0\0\0"), None);
    }
}
