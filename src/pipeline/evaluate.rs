//! From predictions to the report: figures with intervals and tests, transfer ratios, decomposition, and what stands behind
//! them.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::Error;
use super::past::histories;
use super::run::Finished;
use super::spec::History;
use super::spec::{self, Mode, Spec};
use super::stored;
use super::teacher::Taught;
use super::variant::Variant;
use crate::compress::Pca;
use crate::metrics::{Bootstrap, Measured, Metric, Sample, logit};
use crate::report::{self, Against, Curve, GapHistogram, LengthHistogram, ModelSize, Period, Report, Role};

impl Finished {
    /// The report of a run.
    ///
    /// # Errors
    /// [`Error::Metric`] where the test days cannot be measured on.
    pub fn report(&self, spec: &Spec, bootstrap: &Bootstrap) -> Result<Report, Error> {
        let test = self.rows("test", spec.split.test)?;
        let sample = Sample::new(
            &self.stream.key[test.clone()],
            &self.stream.label[test.clone()],
            bootstrap,
        )?;
        let mut measured: BTreeMap<Variant, Vec<Measured>> = BTreeMap::new();
        for (variant, learnt) in &self.learnt {
            let of = |l: &super::Learnt| sample.measure(variant.title(), &l.logits);
            measured.insert(*variant, learnt.iter().map(of).collect::<Result<_, _>>()?);
        }
        let teacher = |p: &f32| logit(f64::from(*p)) as f32;
        let fm = self.fm.iter().map(|fm| {
            let logits: Vec<f32> = fm.score[test.clone()].iter().map(teacher).collect();
            sample.measure("FM", &logits)
        });
        let fm: Vec<Measured> = fm.collect::<Result<_, _>>()?;
        let mut report = Report::new(&spec.name);
        self.protocol(spec, &mut report)?;
        report.protocol.test(&sample);
        let of = |v: Variant| measured.get(&v).map(Vec::as_slice);
        let vm = of(Variant::Vm).unwrap_or(&[]);
        let against = Against { vm, fm: Some(&fm) };
        for (variant, own) in &measured {
            let role = match variant {
                Variant::Vm => Role::Base,
                v if v.is_control() => Role::Control,
                Variant::Raw | Variant::RawLabels => Role::Control,
                _ => Role::Claim,
            };
            report
                .variants
                .push(report::Variant::of(variant.title(), role, own, against)?);
        }
        report
            .variants
            .push(report::Variant::of("FM", Role::Teacher, &fm, against)?);
        if let (Some(raw), Some(loopfm), Some(both)) = (of(Variant::Raw), of(Variant::Loopfm), of(Variant::LoopfmRaw)) {
            report.decompose(vm, raw, loopfm, both)?;
        }
        self.pictures(spec, &test, &mut report)?;
        self.storages(spec, &test, of(Variant::Loopfm), &mut report)?;
        Ok(report)
    }

    fn rows(&self, name: &'static str, days: spec::Range) -> Result<Range<usize>, Error> {
        let rows = self.stream.days(days);
        match rows.is_empty() {
            true => Err(Error::Empty {
                name,
                days: days.into(),
            }),
            false => Ok(rows),
        }
    }

    fn protocol(&self, spec: &Spec, report: &mut Report) -> Result<(), Error> {
        let p = &mut report.protocol;
        let stream = &self.stream;
        p.data = format!("{} impressions", stream.rows());
        p.label = self.encoder.features().label().unwrap_or_default().to_owned();
        p.seeds = spec.seeds.iter().map(|s| *s as i64).collect();
        let s = &spec.split;
        let periods = [
            ("FM", "fm", Some(s.fm)),
            ("VM, training", "train", Some(s.train)),
            ("VM, validation", "valid", s.valid),
            ("test", "test", Some(s.test)),
        ];
        for (name, key, days) in periods {
            let Some(days) = days else { continue };
            let rows = self.rows(key, days)?;
            let users: HashSet<u64> = stream.key[rows.clone()].iter().copied().collect();
            p.periods.push(Period {
                name: name.to_owned(),
                from: days.first,
                to: days.last,
                rows: rows.len() as u64,
                users: users.len() as u64,
            });
        }
        p.teaching = match spec.fm.mode {
            Mode::Fixed => "fixed: the FM learns from its days and embeds the days after them".to_owned(),
            Mode::Prequential => format!(
                "prequential: every {} is embedded by the FM of what came before it, then learnt from; after its last day the FM is fixed",
                spec.fm.block_hours.map_or("day".to_owned(), |h| format!("{h} hours")),
            ),
        };
        let History {
            length,
            delay,
            retention,
            positives,
        } = spec.history;
        p.history = format!(
            "the newest {length} events strictly before the impression, ties excluded; delay {delay} ms; {}; {}",
            retention.map_or("nothing forgotten".to_owned(), |ms| format!("forgotten after {ms} ms")),
            if positives {
                "of embeddings those of positives alone"
            } else {
                "positives and negatives"
            },
        );
        p.storage = spec.fm.storage.name().to_owned();
        for (variant, learnt) in &self.learnt {
            let parameters = learnt.first().map_or(0, |l| l.course.parameters) as u64;
            p.models.push(ModelSize {
                name: variant.title().to_owned(),
                parameters,
                what: String::new(),
            });
        }
        Ok(())
    }

    /// What each storage costs and loses, and how well the vertical model reads the one that is declared.
    fn storages(
        &self,
        spec: &Spec,
        test: &Range<usize>,
        loopfm: Option<&[Measured]>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(fm) = self.fm.first() else { return Ok(()) };
        report.storage = stored::table(fm, &self.stream.days(spec.split.train), test)?;
        if let Some(line) = report.storage.iter_mut().find(|s| s.name == spec.fm.storage.name()) {
            report.protocol.bytes_per_impression = Some(line.bytes);
            let auc: Option<Vec<f64>> = loopfm
                .map(|seeds| seeds.iter().map(|m| m.get(Metric::Auc)).collect())
                .transpose()?;
            line.auc = auc.map(|auc| auc.iter().sum::<f64>() / auc.len() as f64);
        }
        Ok(())
    }

    /// Curves, histories, spectrum.
    fn pictures(&self, spec: &Spec, test: &Range<usize>, report: &mut Report) -> Result<(), Error> {
        for (variant, learnt) in &self.learnt {
            let Some(first) = learnt.first() else { continue };
            let rows = spec.vm.train.data.batch as f64;
            let points = first
                .course
                .validations
                .iter()
                .map(|(step, auc, _)| (*step as f64 * rows, *auc))
                .collect();
            report.curves.push(Curve {
                name: variant.title().to_owned(),
                of: "validation AUC".to_owned(),
                points,
            });
        }
        let Some(fm) = self.fm.first() else { return Ok(()) };
        let past = histories(&self.stream, &spec.history, Some(&fm.embedded()))?;
        let (mut lengths, mut gaps) = (LengthHistogram::default(), GapHistogram::default());
        for row in test.clone() {
            let events = past.of(row);
            lengths.add(events.len());
            events
                .iter()
                .for_each(|e| gaps.add(self.stream.time[row] - self.stream.time[*e as usize]));
        }
        (report.lengths, report.gaps) = (lengths.finish(), gaps.finish());
        for learnt in self.learnt.values() {
            let mut of_seeds = learnt.iter().filter_map(|l| l.course.attention.as_ref());
            if let Some(mut all) = of_seeds.next().cloned() {
                of_seeds.for_each(|seed| all.join(seed));
                report.attention.push(all);
            }
        }
        report.spectrum = spectrum(fm, test)?;
        Ok(())
    }
}

/// Rows by which the spectrum is judged.
const SAMPLE: usize = 20_000;

/// Shares of the variance of test rows' embeddings along principal directions, at most 64 of them.
fn spectrum(fm: &Taught, test: &Range<usize>) -> Result<Vec<f64>, Error> {
    let width = fm.width;
    if width == 0 || test.is_empty() {
        return Ok(Vec::new());
    }
    let rows = test.clone().step_by(test.len().div_ceil(SAMPLE));
    let row = |row: usize| &fm.embeddings[row * width..][..width];
    let z: Vec<f32> = rows.flat_map(row).copied().collect();
    let variances = Pca::fit(&z, width, 1)?.variances;
    let all: f64 = variances.iter().sum();
    // Embeddings that are all the same have none.
    let shares = variances.iter().take(64).map(|v| v / all);
    Ok(if all > 0.0 { shares.collect() } else { Vec::new() })
}
