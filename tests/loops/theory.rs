//! The theory's test bed with models: what a foundation model and vertical models, trained on synthetic streams, measure
//! follows the dials.

use std::ops::Range;
use std::sync::Arc;

use loopfm::import::Model;
use loopfm::metrics::{
    Bootstrap, Decomposed, Interval, Measured, Metric, Sample, decompose, difference, entropy, transfer_ratio,
};
use loopfm::pipeline::{Embeddings, History, Past, Sources, Stream, histories};
use loopfm::synthetic::{Teacher, View, World};
use loopfm::tensor::{Data, HostTensor};
use loopfm::train::{self, Split, Trainable, Trainer};

const LABEL: &str = "label of the row";
/// Days of the foundation model, the vertical models, the test.
const DAYS: [Range<i32>; 3] = [0..2, 2..4, 4..5];

/// A stream, what an ideal foundation model leaves of it, and who may see what.
struct Bed {
    stream: Stream,
    ideal: Embeddings,
    /// Of the test rows, the ideal foundation model's predictions.
    teacher: Vec<f32>,
    sample: Sample,
}

impl Bed {
    fn new(world: &World, teacher: &Teacher) -> Self {
        let made = world.generate(teacher).unwrap();
        let rows = made.key.len();
        let mut columns = made.inputs.clone();
        columns.insert(LABEL.to_owned(), HostTensor::f32(&[rows], made.label.clone()));
        let stream = Stream {
            columns,
            key: made.key.clone(),
            time: made.time.clone(),
            ingest: None,
            label: made.label.clone(),
            day: made.day.iter().map(|d| d.cast_signed()).collect(),
        };
        let mut bed = Self {
            ideal: Embeddings {
                width: 2,
                values: made.embedding.as_f32().unwrap().to_vec(),
            },
            teacher: made.logits(View::Teacher, 0),
            sample: Sample::new(&[1, 2], &[0.0, 1.0], &Bootstrap::default()).unwrap(),
            stream,
        };
        let test = bed.days(2);
        bed.teacher = bed.teacher[test.clone()].to_vec();
        let bootstrap = Bootstrap {
            resamples: 200,
            ..Bootstrap::default()
        };
        bed.sample = Sample::new(&bed.stream.key[test.clone()], &bed.stream.label[test], &bootstrap).unwrap();
        bed
    }

    fn days(&self, period: usize) -> Range<usize> {
        let at = |day| self.stream.day.partition_point(|d| *d < day);
        at(DAYS[period].start)..at(DAYS[period].end)
    }

    fn split(&self, rows: &Range<usize>, past: &Past) -> Split {
        let cut = |column: &HostTensor| match &column.data {
            Data::I32(x) => HostTensor::i32(&[rows.len()], x[rows.clone()].to_vec()),
            Data::F32(x) => HostTensor::f32(&[rows.len()], x[rows.clone()].to_vec()),
            Data::Bool(_) => panic!("no column is of truth values"),
        };
        let columns = self.stream.columns.iter().map(|(name, c)| (name.clone(), cut(c)));
        Split::columns(columns.collect()).with(past.from(rows.start))
    }

    /// A model trained on a period, and what makes its histories.
    fn trained(&self, period: usize, model: &str, length: usize, left: Option<&Embeddings>) -> (Model, Past) {
        let text = format!(
            "data = {{ batch = 128, epochs = 3, order = \"shuffled\", label = \"{LABEL}\" }}\n\
             schedule = {{ lr = 0.005 }}\nloss = {{ {} }}\n\
             optimiser = {{ groups = [{{ params = [\"*\"], rule = \"adam\" }}] }}\n\
             [model]\narchitecture = \"din\"\nmlp = [16]\nattention = {{ layers = [4], softmax = true }}\n{model}",
            if period == 0 { "autoencoder = 1.0" } else { "" },
        );
        let spec: train::Spec = toml::from_str(&text).unwrap();
        let trainable = Trainable::of_architecture(&spec.architecture().unwrap(), spec.seed).unwrap();
        let mut trainer = Trainer::new(trainable, &spec).unwrap();
        let history = History {
            length,
            delay: 0,
            retention: None,
            positives: false,
        };
        // No embedding is of what its model has learnt from; ideal ones have learnt from nothing.
        let known = self.days(0).end;
        let keep: Vec<bool> = (0..self.stream.rows()).map(|row| row >= known).collect();
        let past = Arc::new(histories(&self.stream, &history, Some(&keep)).unwrap());
        let sources = Sources {
            columns: Arc::new(Sources::columns(&self.stream)),
            raw: past.clone(),
            loopfm: left.map(|left| (past, Arc::new(left.clone()))),
        };
        let past = Past::new(trainer.graph(), &sources).unwrap();
        let learnt = trainer.learn(&self.split(&self.days(period), &past), None, &mut |_| {});
        (learnt.unwrap().model, past)
    }

    /// A foundation model's embeddings of the whole stream, and how well it predicts the test.
    fn teach(&self, width: usize) -> (Embeddings, [Measured; 1]) {
        let model = format!(
            "autoencoder = {{ of = [\"hidden\"], layers = [16], width = {width} }}\nfields = [{ITEM}, {READING}, {EXTRA}]"
        );
        let (model, past) = self.trained(0, &model, 1, None);
        let all = 0..self.stream.rows();
        let out = train::score(&model, &["embedding", "logit"], &self.split(&all, &past)).unwrap();
        let floats = |name: &str| out[name].as_f32().unwrap().to_vec();
        let values = floats("embedding");
        (
            Embeddings { width, values },
            [self.sample.measure("FM", &floats("logit")[self.days(2)]).unwrap()],
        )
    }

    /// A vertical model, with histories of so many events.
    fn vm(&self, length: usize, raw: bool, left: Option<&Embeddings>) -> [Measured; 1] {
        let mut model = format!("fields = [{ITEM}, {READING}]\n");
        if raw {
            model += &format!("history = {{ length = {length}, of = [\"reading\"] }}\n");
        }
        if let Some(left) = left {
            let width = left.width;
            model += &format!("loopfm = {{ length = {length}, width = {width}, encoder = \"mean\" }}\n");
        }
        let (model, past) = self.trained(1, &model, length, left);
        let out = train::score(&model, &["logit"], &self.split(&self.days(2), &past)).unwrap();
        [self.sample.measure("VM", out["logit"].as_f32().unwrap()).unwrap()]
    }

    /// What the gain is made of, in NE.
    fn parts(&self, length: usize, left: &Embeddings) -> (Decomposed, [Measured; 1], [Measured; 1]) {
        let (base, raw) = (self.vm(length, false, None), self.vm(length, true, None));
        let (loopfm, both) = (self.vm(length, false, Some(left)), self.vm(length, true, Some(left)));
        let parts = decompose(Metric::Ne, &base, &raw, &loopfm, &both).unwrap();
        (parts, base, loopfm)
    }
}

const ITEM: &str = "{ name = \"item\", vocabulary = 64, width = 4 }";
const READING: &str = "{ name = \"reading\", vocabulary = 2, width = 4 }";
const EXTRA: &str = "{ name = \"extra\", vocabulary = 2, width = 4 }";

fn world(users: u32, gap: f64) -> World {
    World {
        users,
        events: 30,
        per_day: 6,
        noise: 0.25,
        gap,
        ..World::default()
    }
}

fn gain(from: &[Measured; 1], to: &[Measured; 1]) -> Interval {
    difference(Metric::Ne, from, to).unwrap()
}

/// The past events that rows of the test have at least.
const PAST: u32 = 12;

/// What was measured with a feature gap: the gain's parts and the transfer ratio, `None` where the FM does not lead for sure.
#[derive(Debug)]
struct Seen {
    temporal: Interval,
    cross: Interval,
    loopfm: Interval,
    ratio: Option<f64>,
}

/// Which part follows the feature gap, and how much of its lead an FM transfers.
fn gaps(users: u32, gaps: &[f64]) -> Vec<Seen> {
    let of = |gap: &f64| {
        let (world, teacher) = (world(users, *gap), Teacher::default());
        let bed = Bed::new(&world, &teacher);
        let (left, fm) = bed.teach(4);
        let (parts, base, loopfm) = bed.parts(PAST as usize, &left);
        let seen = Seen {
            temporal: parts.temporal,
            cross: parts.cross,
            loopfm: parts.loopfm,
            ratio: transfer_ratio(Metric::Ne, &base, &loopfm, &fm)
                .ok()
                .map(|t| t.ratio.value),
        };
        let (exact, rate) = (
            world.informations(&teacher, PAST).unwrap(),
            entropy(world.base_rate().unwrap()),
        );
        let [temporal, cross, gain] = [exact.temporal, exact.cross, exact.loopfm].map(|x| x / rate);
        let show = |x: Interval| format!("{:.4} ({:.4} to {:.4})", x.value, x.low, x.high);
        eprintln!(
            "gap {gap}: temporal {} of {temporal:.4}, cross {} of {cross:.4}, LoopFM {} of {gain:.4}, transfer {:?} of {:?}",
            show(seen.temporal),
            show(seen.cross),
            show(seen.loopfm),
            seen.ratio,
            world.transfer(&teacher, PAST).unwrap(),
        );
        // No model knows more than the best predictor; small ones come near it.
        for (seen, exact) in [(seen.temporal, temporal), (seen.cross, cross), (seen.loopfm, gain)] {
            let slack = 4.0 * seen.se() + 0.01;
            let near = 0.7 * exact - slack..exact + slack;
            assert!(near.contains(&seen.value), "{seen:?}, exact {exact}");
        }
        seen
    };
    gaps.iter().map(of).collect()
}

/// Gains of ideal embeddings that compression has turned with this chance, and what the sums say of them.
fn compressed(users: u32, lost: &[f64]) -> Vec<(Interval, f64)> {
    let of = |lost: &f64| {
        let teacher = Teacher {
            lost_taste: *lost,
            lost_extra: *lost,
            ..Teacher::default()
        };
        let world = world(users, 1.0);
        let bed = Bed::new(&world, &teacher);
        let seen = gain(&bed.vm(8, false, None), &bed.vm(8, false, Some(&bed.ideal)));
        let rate = entropy(world.base_rate().unwrap());
        let exact = world.informations(&teacher, 8).unwrap().loopfm / rate;
        eprintln!("lost {lost}: gain {seen:?}, of the best predictor {exact:.4}");
        (seen, exact)
    };
    lost.iter().map(of).collect()
}

/// Transfer from one teacher to a better one whose embeddings are worse: measured, and of the best predictors.
fn of_teachers(users: u32) -> (f64, f64) {
    let world = world(users, 1.0);
    let narrow = Teacher {
        noise: 0.4,
        ..Teacher::default()
    };
    let wide = Teacher {
        noise: 0.1,
        lost_taste: 0.45,
        lost_extra: 0.45,
    };
    let beds = [Bed::new(&world, &narrow), Bed::new(&world, &wide)];
    let students = beds.each_ref().map(|bed| bed.vm(8, false, Some(&bed.ideal)));
    let teachers = beds
        .each_ref()
        .map(|bed| [bed.sample.measure("FM", &bed.teacher).unwrap()]);
    let lead = gain(&teachers[0], &teachers[1]);
    assert!(lead.low > 0.0, "the second teacher leads: {lead:?}");
    let harm = gain(&students[0], &students[1]);
    let exact = world.transfer_of_teachers([&narrow, &wide], 8).unwrap().unwrap();
    eprintln!("teachers: {harm:?} of {lead:?}, of the best predictors {exact:.3}");
    (harm.value / lead.value, exact)
}

#[test]
fn what_models_measure_follows_the_dials() {
    let seen = gaps(300, &[0.0, 2.0]);
    assert!(seen[1].cross.value > seen[0].cross.value + 0.1, "{seen:?}");
    assert!(seen[0].temporal.value > 0.01, "{seen:?}");
    let (measured, exact) = of_teachers(300);
    assert!(measured < -0.1 && exact < -0.1, "{measured} {exact}");
}

#[test]
#[ignore = "minutes: two dozen models"]
fn what_models_measure_follows_every_dial() {
    let users = 4000;
    let seen = gaps(users, &[0.0, 0.7, 1.4, 2.1]);
    assert!(
        seen.is_sorted_by(|a, b| b.cross.low > a.cross.high && b.loopfm.low > a.loopfm.high),
        "{seen:?}"
    );
    // An FM without features of its own does not lead. This one knows no past: of its lead over a VM that learns the past from
    // it the share falls as the lead grows, as it does for the best predictors.
    let ratios: Vec<Option<f64>> = seen.iter().map(|s| s.ratio).collect();
    assert!(
        ratios[0].is_none() && ratios[1..].is_sorted_by(|a, b| a > b),
        "{ratios:?}"
    );
    // Longer histories tell more, and transfer more.
    let world = world(users, 1.4);
    let bed = Bed::new(&world, &Teacher::default());
    let ((left, fm), base) = (bed.teach(4), bed.vm(1, false, None));
    let lengths = [1, 3, 9].map(|length| {
        let with = bed.vm(length as usize, false, Some(&left));
        let ratio = transfer_ratio(Metric::Ne, &base, &with, &fm).unwrap().ratio;
        let exact = world.transfer(&Teacher::default(), length).unwrap();
        eprintln!("length {length}: transfer {ratio:?} of {exact:?}");
        (gain(&base, &with), ratio)
    });
    let longer = |a: &(Interval, Interval), b: &(Interval, Interval)| b.0.low > a.0.high && b.1.value > a.1.value;
    assert!(lengths.is_sorted_by(longer), "{lengths:?}");
    // What compression loses is lost to the vertical model.
    let kept = compressed(users, &[0.45, 0.3, 0.15, 0.0]);
    assert!(kept.is_sorted_by(|a, b| b.0.low > a.0.high && b.1 > a.1), "{kept:?}");
    let (measured, exact) = of_teachers(users);
    assert!(measured < 0.0 && exact < 0.0, "{measured} {exact}");
}
