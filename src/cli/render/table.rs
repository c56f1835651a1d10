//! Columns, aligned as docker's are.

/// The gap between columns, and the least width of one with its gap (Go's
/// tabwriter with docker's numbers).
const GAP: usize = 3;
const LEAST: usize = 10;

/// Aligns `lines`, whose cells end in tabs; the last cell of a line is as long as it is.
pub(crate) fn align(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| column + 1 < row.len()).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + GAP).max().unwrap_or(0).max(LEAST)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn line(row: &[&str], widths: &[usize]) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        line.push_str(cell);
        if index + 1 < row.len() {
            let blanks = width.saturating_sub(cell.chars().count());
            line.extend(std::iter::repeat_n(' ', blanks));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn cells_stand_below_each_other() {
        let lines = ["ID\tNAME\tSIZE", "0123456789ab\tä\t1kB", "x\ty\t12.3MB"].map(ToOwned::to_owned);
        let table = "\
ID             NAME      SIZE
0123456789ab   ä         1kB
x              y         12.3MB
";
        assert_eq!(align(&lines), table);
        assert_eq!(align(&["alone".to_owned()]), "alone\n");
        assert_eq!(align(&[]), "");
    }
}
