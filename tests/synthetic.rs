//! The theory test bed: what is measured on a stream follows the dials, and agrees with exact sums.

use loopfm::metrics::{
    Bootstrap, Interval, Measured, Metric, Sample, decompose, difference, entropy, transfer_ratio,
    transfer_ratio_of_teachers,
};
use loopfm::synthetic::{Error, Stream, Teacher, View, World};

/// Past events that histories hold.
const PAST: u32 = 8;

/// Users' last impressions, with a history of `PAST` events each, so that one exact number stands beside what is measured.
fn world() -> World {
    World {
        users: 12_000,
        events: PAST + 1,
        per_day: 3,
        ..World::default()
    }
}

struct Bed {
    stream: Stream,
    rows: Vec<usize>,
    sample: Sample,
}

impl Bed {
    fn new(world: &World, teacher: &Teacher) -> Self {
        let stream = world.generate(teacher).unwrap();
        let mut seen = std::collections::HashMap::new();
        for (row, key) in stream.key.iter().enumerate() {
            seen.insert(*key, row);
        }
        let mut rows: Vec<usize> = seen.into_values().collect();
        rows.sort_unstable();
        let keys: Vec<u64> = rows.iter().map(|r| stream.key[*r]).collect();
        let labels: Vec<f32> = rows.iter().map(|r| stream.label[*r]).collect();
        let bootstrap = Bootstrap {
            resamples: 200,
            ..Bootstrap::default()
        };
        let sample = Sample::new(&keys, &labels, &bootstrap).unwrap();
        Self { stream, rows, sample }
    }

    fn measure(&self, view: View, past: u32) -> [Measured; 1] {
        let logits = self.stream.logits(view, past);
        let logits: Vec<f32> = self.rows.iter().map(|r| logits[*r]).collect();
        [self.sample.measure(&format!("{view:?}"), &logits).unwrap()]
    }
}

/// Within four standard errors: of a seed that is always the same.
fn agrees(what: &str, seen: Interval, exact: f64) {
    let apart = (seen.value - exact).abs();
    assert!(
        apart <= 4.0 * seen.se().max(1e-9),
        "{what}: measured {seen:?}, exact {exact}"
    );
}

#[test]
fn what_is_measured_is_what_the_sums_say() {
    let world = world();
    let teacher = Teacher {
        noise: 0.2,
        lost_taste: 0.15,
        lost_extra: 0.1,
    };
    let bed = Bed::new(&world, &teacher);
    let of = |view| bed.measure(view, PAST);
    let (base, raw, loopfm, both, fm) = (
        of(View::Base),
        of(View::Raw),
        of(View::LoopFm),
        of(View::Both),
        of(View::Teacher),
    );
    let exact = world.informations(&teacher, PAST).unwrap();
    let base_rate = world.base_rate().unwrap();
    assert!((bed.sample.base_rate() - base_rate).abs() < 0.02);
    for (metric, unit) in [(Metric::LogLoss, 1.0), (Metric::Ne, entropy(base_rate))] {
        let seen = decompose(metric, &base, &raw, &loopfm, &both).unwrap();
        agrees("temporal", seen.temporal, exact.temporal / unit);
        agrees("cross", seen.cross, exact.cross / unit);
        agrees("residual", seen.residual, exact.residual / unit);
        agrees("loopfm", seen.loopfm, exact.loopfm / unit);
        let ratio = transfer_ratio(metric, &base, &loopfm, &fm).unwrap().ratio;
        agrees("transfer", ratio, world.transfer(&teacher, PAST).unwrap().unwrap());
    }
    // All of it is there to be measured.
    for part in [exact.temporal, exact.cross, exact.residual, exact.loopfm] {
        assert!(part > 0.005, "{exact:?}");
    }
    // The best predictions are calibrated.
    for m in [&base, &loopfm, &fm] {
        assert!((m[0].figures.calibration.unwrap() - 1.0).abs() < 0.05);
    }
}

#[test]
fn parts_follow_their_dials() {
    let teacher = Teacher {
        lost_taste: 0.1,
        ..Teacher::default()
    };
    let measured = |world: &World| {
        let bed = Bed::new(world, &teacher);
        let of = |view| bed.measure(view, PAST);
        decompose(
            Metric::Ne,
            &of(View::Base),
            &of(View::Raw),
            &of(View::LoopFm),
            &of(View::Both),
        )
        .unwrap()
    };
    // The feature gap is I_cross and does not make I_temporal greater.
    let gaps = [0.0, 0.5, 1.0, 1.6].map(|gap| World { gap, ..world() });
    let cross = gaps.map(|w| w.informations(&teacher, PAST).unwrap().cross);
    assert!(
        cross[0].abs() < 1e-12 && cross.is_sorted_by(|a, b| b - a > 0.003),
        "{cross:?}"
    );
    let seen = gaps.map(|w| measured(&w).cross);
    assert!(
        seen[0].value.abs() < 1e-9 && seen.is_sorted_by(|a, b| b.low > a.high),
        "{seen:?}"
    );
    // Taste is I_temporal, and what compression loses of it is I_residual.
    let tastes = [0.0, 0.5, 1.0, 1.6].map(|temporal| World { temporal, ..world() });
    let exact = tastes.map(|w| w.informations(&teacher, PAST).unwrap());
    assert!(
        exact.is_sorted_by(|a, b| b.temporal - a.temporal > 0.003 && b.residual > a.residual),
        "{exact:?}"
    );
    let seen = tastes.map(|w| measured(&w));
    assert!(seen.is_sorted_by(|a, b| b.temporal.low > a.temporal.high), "{seen:?}");
    // Self-LoopFM: without features of its own an FM brings no more than the history it has read.
    let own = Teacher { noise: 0.5, ..teacher };
    let parts = world().informations(&own, PAST).unwrap();
    assert!(parts.cross.abs() < 1e-12 && parts.loopfm <= parts.temporal);
}

#[test]
fn longer_histories_tell_more_by_less_and_less() {
    let (world, teacher) = (
        world(),
        Teacher {
            lost_taste: 0.1,
            lost_extra: 0.1,
            ..Teacher::default()
        },
    );
    let gain = |past| world.informations(&teacher, past).unwrap().loopfm;
    let gains: Vec<f64> = (0..=40).map(gain).collect();
    assert!(gains[0].abs() < 1e-12 && gains.is_sorted_by(|a, b| b > a), "{gains:?}");
    assert!(gains[40] < entropy(world.base_rate().unwrap()));
    // Eight steps of one event each are worth more the earlier.
    assert!(gains[8] - gains[0] > gains[16] - gains[8] && gains[16] - gains[8] > gains[40] - gains[32]);
    let transfer = |past| world.transfer(&teacher, past).unwrap().unwrap();
    assert!(transfer(2) < transfer(5) && transfer(5) < transfer(20));

    let bed = Bed::new(&world, &teacher);
    let (base, fm) = (bed.measure(View::Base, PAST), bed.measure(View::Teacher, PAST));
    let arms = [1, 2, 4, PAST].map(|past| bed.measure(View::LoopFm, past));
    for (shorter, longer) in arms.iter().zip(&arms[1..]) {
        assert!(difference(Metric::Ne, shorter, longer).unwrap().low > 0.0);
    }
    let ratio = |arm: &[Measured]| transfer_ratio(Metric::Ne, &base, arm, &fm).unwrap().ratio.value;
    assert!(arms.iter().map(|arm| ratio(arm)).is_sorted_by(|a, b| a < b));
}

/// The second part of the paper's theorem 2 and its corollary 4: a teacher with more features whose embeddings are worse
/// compressed teaches less, until the gap makes up for it.
#[test]
fn transfer_between_teachers_grows_with_the_gap_from_below_zero() {
    let plain = Teacher {
        noise: 0.5,
        ..Teacher::default()
    };
    let rich = Teacher {
        noise: 0.2,
        lost_taste: 0.35,
        lost_extra: 0.35,
    };
    let gaps = [0.5, 0.8, 1.1, 1.6];
    let exact = gaps.map(|gap| {
        let world = World { gap, ..world() };
        world.transfer_of_teachers([&plain, &rich], PAST).unwrap().unwrap()
    });
    assert!(
        exact[0] < -0.2 && exact[3] > 0.05 && exact.is_sorted_by(|a, b| a < b),
        "{exact:?}"
    );
    for (i, gap) in gaps.into_iter().enumerate() {
        let world = World { gap, ..world() };
        let (a, b) = (Bed::new(&world, &plain), Bed::new(&world, &rich));
        assert_eq!((&a.stream.label, &a.stream.time), (&b.stream.label, &b.stream.time));
        let students = [a.measure(View::LoopFm, PAST), b.measure(View::LoopFm, PAST)];
        let teachers = [a.measure(View::Teacher, PAST), b.measure(View::Teacher, PAST)];
        let found = transfer_ratio_of_teachers(Metric::Ne, [&students[0], &students[1]], [&teachers[0], &teachers[1]]);
        agrees("two teachers", found.unwrap().ratio, exact[i]);
    }
    // The worse the compression, the less is taught; at worst nothing at all.
    let world = world();
    let of = |lost: f64| {
        let teacher = Teacher {
            noise: 0.2,
            lost_taste: lost,
            lost_extra: lost,
        };
        world.transfer(&teacher, PAST).unwrap().unwrap()
    };
    let ratios = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5].map(of);
    assert!(
        ratios.is_sorted_by(|a, b| a > b) && ratios[5].abs() < 1e-9,
        "{ratios:?}"
    );
    // Without a feature of its own the FM does not lead, and there is no ratio.
    assert_eq!(world.transfer(&plain, PAST), Ok(None));
    let bed = Bed::new(&world, &plain);
    let of = |view| bed.measure(view, PAST);
    assert!(transfer_ratio(Metric::Ne, &of(View::Base), &of(View::LoopFm), &of(View::Teacher)).is_err());
}

#[test]
fn streams_are_logs() {
    let world = World {
        users: 40,
        events: 10,
        per_day: 4,
        ..World::default()
    };
    let stream = world.generate(&Teacher::default()).unwrap();
    assert_eq!(stream, world.generate(&Teacher::default()).unwrap());
    assert_ne!(
        stream.label,
        World { seed: 2, ..world }.generate(&Teacher::default()).unwrap().label
    );
    assert_eq!(stream.key.len(), 400);
    assert!(stream.time.is_sorted() && stream.key.iter().all(|k| (1..=40).contains(k)));
    for (time, day) in stream.time.iter().zip(&stream.day) {
        assert_eq!((time - 1_650_844_800_000) / 86_400_000, i64::from(*day));
    }
    assert_eq!(stream.day.iter().max(), Some(&2));
    assert!(
        stream.inputs["item"]
            .as_i32()
            .unwrap()
            .iter()
            .all(|i| (0..64).contains(i))
    );
    // An ideal FM loses nothing: its embedding is what it has read.
    let bits = |name: &str| stream.inputs[name].as_i32().unwrap().to_vec();
    let (reading, extra) = (bits("reading"), bits("extra"));
    for (row, z) in stream.embedding.as_f32().unwrap().chunks(2).enumerate() {
        assert_eq!([reading[row], extra[row]].map(|b| 2.0 * b as f32 - 1.0), z);
    }
    assert_eq!(stream.score, stream.logits(View::Teacher, 5));
    // Histories have no part in the plain VM.
    assert_eq!(stream.logits(View::Base, 0), stream.logits(View::Raw, 0));
}

#[test]
fn dials_turned_too_far_are_named() {
    let teacher = Teacher::default();
    let cases = [
        (
            World {
                users: 0,
                ..World::default()
            },
            teacher,
            "`users` is 0",
        ),
        (
            World {
                noise: 0.0,
                ..World::default()
            },
            teacher,
            "`noise` is 0",
        ),
        (
            World {
                gap: f64::NAN,
                ..World::default()
            },
            teacher,
            "`gap` is NaN",
        ),
        (
            World {
                users: 1 << 20,
                events: 1 << 20,
                ..World::default()
            },
            teacher,
            "`users * events`",
        ),
        (
            World::default(),
            Teacher { noise: 0.6, ..teacher },
            "`teacher.noise` is 0.6",
        ),
        (
            World::default(),
            Teacher {
                lost_extra: -0.1,
                ..teacher
            },
            "`lost_extra` is -0.1",
        ),
    ];
    for (world, teacher, message) in cases {
        let refused: Error = world.generate(&teacher).unwrap_err();
        assert!(refused.to_string().starts_with(message), "{refused}");
        assert!(world.risk(&teacher, View::Base, 1).is_err());
    }
}
