//! The word that was meant.

/// The one of `known` that `word` is most like; none if it is like none of them.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let distances = known.iter().map(|known| (distance(&word.to_lowercase(), &known.to_lowercase()), *known));
    let (distance, best) = distances.min_by_key(|(distance, _)| *distance)?;
    let most = (word.chars().count().max(best.chars().count()) / 3).max(1);
    (distance <= most).then_some(best)
}

/// Letters to add, take away, replace or exchange with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0_usize; (a.len() + 1) * width];
    let at = |table: &[usize], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(usize::MAX / 2);
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let value = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(a.get(i - 1) != b.get(j - 1));
                let mut best = at(&table, i - 1, j - 1) + same;
                best = best.min(at(&table, i - 1, j) + 1).min(at(&table, i, j - 1) + 1);
                if i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1) {
                    best = best.min(at(&table, i - 2, j - 2) + 1);
                }
                best
            };
            if let Some(cell) = table.get_mut(i * width + j) {
                *cell = value;
            }
        }
    }
    at(&table, a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_meant() {
        let known = ["run", "copy", "workdir", "env", "name", "healthcheck"];
        for (word, meant) in [
            ("cpoy", Some("copy")),
            ("Workdir", Some("workdir")),
            ("work_dir", Some("workdir")),
            ("healtcheck", Some("healthcheck")),
            ("envs", Some("env")),
            ("ru", Some("run")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
        assert_eq!(nearest("a", &[]), None);
    }
}
