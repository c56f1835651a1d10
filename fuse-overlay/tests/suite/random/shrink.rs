//! Fewer parts that still fail.

/// The most runs that one search may take.
const TRIES: usize = 150;

/// Leaves out parts, many at once first, as long as what is left `fails`.
pub(super) fn shrink<T: Clone>(parts: &[T], fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut best = parts.to_vec();
    let mut size = best.len().div_ceil(2);
    let mut tries = 0;
    while size > 0 && tries < TRIES {
        let mut start = 0;
        let mut shorter = false;
        while start < best.len() && tries < TRIES {
            let mut candidate = best.clone();
            candidate.drain(start..(start + size).min(best.len()));
            tries += 1;
            if fails(&candidate) {
                best = candidate;
                shorter = true;
            } else {
                start += size;
            }
        }
        if !shorter || size > best.len() {
            size /= 2;
        }
    }
    best
}

#[test]
fn what_matters_is_left() {
    let parts: Vec<u32> = (0..100).collect();
    assert_eq!(shrink(&parts, |left| left.contains(&17) && left.contains(&80)), [17, 80]);
}
