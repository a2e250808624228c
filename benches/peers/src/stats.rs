//! Medians, percentiles and ratios.

/// The median of the rounds, with the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Figure {
    /// `None` of nothing.
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        Some(Self {
            median: middle(&figures)?,
            least: *figures.first()?,
            most: *figures.last()?,
        })
    }
}

/// Of sorted figures: the middle one, or the mean of the middle two.
fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0)
}

/// The median of the ratios round by round, so that a machine which is slow for a
/// while is slow on both sides of a ratio. Rounds in which one side failed are
/// left out.
pub fn ratio(ours: &[Option<f64>], base: &[Option<f64>]) -> Option<f64> {
    let ratios = ours.iter().zip(base).filter_map(|(ours, base)| {
        let (ours, base) = ((*ours)?, (*base)?);
        (base != 0.0).then(|| ours / base)
    });
    Figure::of(ratios.collect()).map(|figure| figure.median)
}

/// By nearest rank: the least figure that at least `percent` of all do not exceed.
pub fn percentile(sorted: &[u64], percent: f64) -> Option<u64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Of figures above zero.
pub fn geometric_mean(figures: &[f64]) -> Option<f64> {
    let logs: f64 = figures.iter().map(|figure| figure.ln()).sum();
    (!figures.is_empty()).then(|| (logs / figures.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_with_its_spread() {
        let figure = Figure::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((figure.least, figure.median, figure.most), (1.0, 2.0, 3.0));
        assert_eq!(Figure::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Figure::of(vec![]), None);
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_each_round() {
        let ours = [Some(1.0), Some(20.0), Some(3.0)];
        let base = [Some(2.0), Some(10.0), Some(3.0)];
        assert_eq!(ratio(&ours, &base), Some(1.0));
    }

    #[test]
    fn a_ratio_leaves_out_rounds_that_failed_and_bases_of_zero() {
        let ours = [None, Some(1.0), Some(3.0), Some(1.0)];
        let base = [Some(1.0), None, Some(2.0), Some(0.0)];
        assert_eq!(ratio(&ours, &base), Some(1.5));
        assert_eq!(ratio(&[None], &[Some(1.0)]), None);
    }

    #[test]
    fn percentiles_go_by_nearest_rank() {
        let figures: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&figures, 50.0), Some(50));
        assert_eq!(percentile(&figures, 99.0), Some(99));
        assert_eq!(percentile(&figures, 100.0), Some(100));
        assert_eq!(percentile(&figures, 0.0), Some(1));
        assert_eq!(percentile(&[7], 99.0), Some(7));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn the_geometric_mean_weighs_ratios_alike() {
        assert_eq!(geometric_mean(&[2.0, 8.0]).map(f64::round), Some(4.0));
        assert_eq!(geometric_mean(&[]), None);
    }
}
