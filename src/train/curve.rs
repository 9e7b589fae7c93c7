//! The training curve as a picture: loss above, AUC below, over steps.

use super::Event;
use crate::charts::{self, Lines, Series};

/// The picture of a run's events, as SVG.
pub(super) fn svg(events: &[Event]) -> String {
    let (mut loss, mut auc, mut valid_loss, mut valid_auc) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Step(line) => {
                loss.push((line.step as f64, line.loss));
                auc.extend(line.auc.map(|auc| (line.step as f64, auc)));
            }
            Event::Validation(line) => {
                valid_loss.push((line.step as f64, line.log_loss));
                valid_auc.push((line.step as f64, line.auc));
            }
            Event::Checkpoint { .. } | Event::Start { .. } | Event::Note { .. } => {}
        }
    }
    let panel = |title: &str, training, validation: Vec<_>| {
        let mut series = vec![Series::new("training", training)];
        if !validation.is_empty() {
            series.push(Series::new("validation", validation).dotted());
        }
        Lines {
            title: title.into(),
            x: "steps".into(),
            series,
        }
    };
    charts::svg(&[&panel("loss", loss, valid_loss), &panel("AUC", auc, valid_auc)])
}
