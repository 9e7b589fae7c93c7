//! How well predictions rank within each user's impressions.

use serde::{Deserialize, Serialize};

use super::auc;

/// Grouped AUC: the mean AUC of users (or other groups), weighted by their impressions. A group of one label has no AUC
/// and does not count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gauc {
    /// The weighted mean.
    pub value: f64,
    /// Groups with both labels.
    pub groups: usize,
    /// Their rows.
    pub rows: usize,
    /// All groups.
    pub all_groups: usize,
    /// All rows.
    pub all_rows: usize,
}

/// GAUC of rows with a group's key each; `None` where no group has both labels, a score is NaN or lengths differ.
#[must_use]
pub fn gauc(keys: &[u64], scores: &[f64], labels: &[bool]) -> Option<Gauc> {
    if keys.len() != scores.len() || keys.len() != labels.len() || scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|row| keys[*row]);
    let mut found = Gauc {
        value: 0.0,
        groups: 0,
        rows: 0,
        all_groups: 0,
        all_rows: keys.len(),
    };
    for group in order.chunk_by(|a, b| keys[*a] == keys[*b]) {
        found.all_groups += 1;
        let scores: Vec<f64> = group.iter().map(|row| scores[*row]).collect();
        let labels: Vec<bool> = group.iter().map(|row| labels[*row]).collect();
        if let Some(area) = auc(&scores, &labels) {
            found.value += area * group.len() as f64;
            found.groups += 1;
            found.rows += group.len();
        }
    }
    found.value /= found.rows as f64;
    (found.rows > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_with_both_labels_count_by_their_rows() {
        // User 1: AUC 1/2 over 3 rows; user 2: one label; user 3: AUC 1 over 2 rows.
        let keys = [1, 2, 3, 1, 2, 1, 3];
        let scores = [0.3, 0.9, 0.7, 0.1, 0.8, 0.2, 0.4];
        let labels = [false, true, true, false, true, true, false];
        let found = gauc(&keys, &scores, &labels).expect("two users have both labels");
        assert_eq!(found.value, (0.5 * 3.0 + 1.0 * 2.0) / 5.0);
        assert_eq!(
            (found.groups, found.rows, found.all_groups, found.all_rows),
            (2, 5, 3, 7)
        );
    }

    #[test]
    fn nothing_to_say() {
        assert_eq!(gauc(&[], &[], &[]), None);
        assert_eq!(gauc(&[1, 1], &[0.1, 0.2], &[true, true]), None);
        assert_eq!(gauc(&[1, 2], &[0.1, 0.2], &[true, false]), None);
        assert_eq!(gauc(&[1, 1], &[f64::NAN, 0.2], &[true, false]), None);
        assert_eq!(gauc(&[1], &[0.1, 0.2], &[true, false]), None);
    }
}
