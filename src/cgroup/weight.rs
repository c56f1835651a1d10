//! The scales of cgroup v1, which docker's flags have, on those of v2.

/// `--cpu-shares` (2 to 262144; 1024 is everybody's) as `cpu.weight` (1 to 10000; 100 is everybody's).
///
/// The curve that the OCI runtimes have agreed on: it meets the least, the usual and the most of both scales, which the
/// straight line that they had before does not.
pub fn of_shares(shares: u64) -> Option<u64> {
    match shares {
        // As docker: the default.
        0 => None,
        1..=2 => Some(1),
        262_144.. => Some(10_000),
        shares => {
            #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            Some((10f64.powf(exponent).ceil() as u64).clamp(1, 10_000))
        }
    }
}

/// `--blkio-weight` (10 to 1000) as `io.weight` (1 to 10000).
pub fn of_blkio(weight: u16) -> u64 {
    let weight = u64::from(weight.clamp(10, 1000));
    1 + (weight - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_their_least_usual_and_most() {
        let cases = [
            (0, None),
            (1, Some(1)),
            (2, Some(1)),
            (100, Some(17)),
            (512, Some(59)),
            (1024, Some(100)),
            (2048, Some(174)),
            (262_144, Some(10_000)),
            (u64::MAX, Some(10_000)),
        ];
        for (shares, weight) in cases {
            assert_eq!(of_shares(shares), weight, "{shares}");
        }
        let weights: Vec<_> = (2..=262_144).step_by(97).filter_map(of_shares).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn weights_of_disks_are_stretched() {
        let cases = [(0, 1), (10, 1), (100, 910), (500, 4950), (1000, 10_000), (u16::MAX, 10_000)];
        for (blkio, io) in cases {
            assert_eq!(of_blkio(blkio), io, "{blkio}");
        }
    }
}
