//! Runs in memory: what rows are gathered from, models without a folder, scores.

use std::ops::Range;
use std::sync::Arc;

use loopfm::import::Model;
use loopfm::interp;
use loopfm::ir::Graph;
use loopfm::model;
use loopfm::nn;
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Sizes, Tensors};
use loopfm::train::{
    Error, Event, Fit, Gather, Gathered, Learnt, Spec, Split, Trainable, Trainer, score, score_blocks,
};

use super::runs::{data, model, spec};

/// Inputs from a list, with faults where a test wants them.
#[derive(Debug)]
struct Lists {
    inputs: Vec<Gathered>,
    columns: Tensors,
}

impl Lists {
    /// Gathers a column.
    fn of(name: &str, column: &HostTensor) -> Arc<Self> {
        let inputs = vec![Gathered {
            name: name.to_owned(),
            dtype: column.dtype(),
            extents: column.shape[1..].to_vec(),
        }];
        let columns = Tensors::from([(name.to_owned(), column.clone())]);
        Arc::new(Self { inputs, columns })
    }
}

impl Gather for Lists {
    fn inputs(&self) -> Vec<Gathered> {
        self.inputs.clone()
    }

    fn gather(&self, rows: &[usize], into: &mut Tensors) {
        for (name, column) in &self.columns {
            let width: usize = column.shape[1..].iter().product();
            let mut shape = column.shape.clone();
            shape[0] = rows.len();
            let of = |r: &usize| r * width..(r + 1) * width;
            let part = match (column.as_f32(), column.as_i32()) {
                (Some(x), _) => HostTensor::f32(&shape, rows.iter().flat_map(|r| &x[of(r)]).copied().collect()),
                (_, Some(x)) => HostTensor::i32(&shape, rows.iter().flat_map(|r| &x[of(r)]).copied().collect()),
                _ => panic!("numbers"),
            };
            into.insert(name.clone(), part);
        }
    }
}

/// The same rows with `ids` gathered.
fn gathered(mut columns: Tensors) -> Split {
    let ids = columns.shift_remove("ids").unwrap();
    Split::gathered(columns, Lists::of("ids", &ids))
}

fn trainer(spec: &Spec) -> Trainer {
    Trainer::new(Trainable::of_model(&model()).unwrap(), spec).unwrap()
}

fn learn(spec: &Spec, train: &Split, valid: Option<&Split>) -> Learnt {
    let learnt = trainer(spec).learn(train, valid, &mut |_| {});
    learnt.unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn what_is_gathered_trains_like_columns() {
    let (train, valid) = (data(400, 2), data(200, 3));
    let columns = learn(
        &spec(),
        &Split::columns(train.clone()),
        Some(&Split::columns(valid.clone())),
    );
    let lists = learn(&spec(), &gathered(train), Some(&gathered(valid)));
    assert_eq!(columns.model.weights, lists.model.weights);
    assert_eq!((columns.best, columns.auc), (lists.best, lists.auc));
}

#[test]
fn a_run_in_memory_is_the_run_of_a_folder() {
    let (train, valid) = (Split::columns(data(400, 2)), Split::columns(data(200, 3)));
    for valid in [None, Some(&valid)] {
        let folder = tempfile::tempdir().unwrap();
        let fit = Fit {
            train: &train,
            valid,
            out: folder.path(),
            resume: false,
        };
        let outcome = trainer(&spec()).fit(&fit, &mut |_| {}).unwrap();
        let mut events = Vec::new();
        let learnt = trainer(&spec())
            .learn(&train, valid, &mut |e| events.push(e.clone()))
            .unwrap();
        assert_eq!(model::load(&outcome.model).unwrap().weights, learnt.model.weights);
        assert_eq!(
            (outcome.steps, outcome.rows, outcome.best, outcome.auc),
            (learnt.steps, learnt.rows, learnt.best, learnt.auc)
        );
        assert!(
            matches!(
                events[0],
                Event::Start {
                    rows: 1200,
                    done: 0,
                    ..
                }
            ),
            "{events:?}"
        );
        assert!(!events.iter().any(|e| matches!(e, Event::Checkpoint { .. })));
    }
}

#[test]
fn the_best_weights_are_kept_and_the_trainer_goes_on_from_its_last() {
    let mut spec = spec();
    // So fast that it is soon worse than it was.
    spec.schedule.lr = 0.3;
    spec.run.validate = Some(1);
    let (train, valid) = (Split::columns(data(400, 2)), Split::columns(data(200, 3)));
    let mut t = trainer(&spec);
    let learnt = t.learn(&train, Some(&valid), &mut |_| {}).unwrap();
    let best = learnt.best.unwrap();
    assert!(best.step < learnt.steps, "{best:?}");
    assert!(learnt.model.weights != t.weights().unwrap());
    let scores = score(&learnt.model, &["logit"], &valid).unwrap();
    let logits: Vec<f64> = scores["logit"]
        .as_f32()
        .unwrap()
        .iter()
        .map(|z| f64::from(*z))
        .collect();
    let labels: Vec<bool> = data(200, 3)["label"]
        .as_f32()
        .unwrap()
        .iter()
        .map(|y| *y > 0.5)
        .collect();
    assert_eq!(loopfm::metrics::auc(&logits, &labels), Some(best.auc));
    // Other data: steps go on, validations start anew.
    let more = t
        .learn(&Split::columns(data(64, 9)), Some(&valid), &mut |_| {})
        .unwrap();
    assert_eq!((more.steps, more.rows), (learnt.steps + 6, 192));
    assert!(more.best.unwrap().step > learnt.steps);
}

#[test]
fn one_split_serves_many_models_at_once() {
    let mut columns = data(400, 2);
    let numbers = columns["ids"].as_i32().unwrap().chunks(3).map(|ids| ids[0] as f32);
    columns.insert("x".to_owned(), HostTensor::f32(&[400, 1], numbers.collect()));
    let split = Split::columns(columns);
    let numeric: model::Spec = model::Spec::from_toml(
        "architecture = \"deepfm\"\nmlp = [4]\nfields = []\ndense = [{name = \"x\", width = 1, embedding = 2}]",
    )
    .unwrap();
    let of_numbers = |seed| {
        let mut t = Trainer::new(Trainable::of_architecture(&numeric, seed).unwrap(), &spec()).unwrap();
        t.learn(&split, Some(&split), &mut |_| {}).unwrap().model.weights
    };
    let of_ids = || learn(&spec(), &split, Some(&split)).model.weights;
    let alone = (of_numbers(1), of_ids());
    let together = std::thread::scope(|s| {
        let (numbers, ids) = (s.spawn(|| of_numbers(1)), s.spawn(of_ids));
        (numbers.join().unwrap(), ids.join().unwrap())
    });
    assert_eq!(alone, together);
}

/// The error of gathering `ids` like this.
fn refused(ids: HostTensor, declare: impl FnOnce(&mut Lists)) -> String {
    let mut columns = data(100, 2);
    columns.shift_remove("ids");
    let mut lists = Arc::into_inner(Lists::of("ids", &ids)).unwrap();
    declare(&mut lists);
    let mut t = trainer(&spec());
    let error = t
        .learn(&Split::gathered(columns, Arc::new(lists)), None, &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    error.to_string()
}

#[test]
fn what_is_gathered_is_checked() {
    let good = data(100, 2)["ids"].clone();
    let mut ids = good.as_i32().unwrap().to_vec();
    ids[3 * 41 + 2] = 20;
    let said = refused(HostTensor::i32(&[100, 3], ids), |_| {});
    assert_eq!(
        said,
        "the columns given, row 41: index 20 of `ids` is outside 0..20 of `emb.weight`"
    );
    let said = refused(HostTensor::i32(&[100, 2], vec![0; 200]), |_| {});
    assert!(
        said.contains("column `ids` is i32[rows, 2], it must be i32[rows, 3]"),
        "{said}"
    );
    let said = refused(good.clone(), |l| l.inputs[0].name = "other".to_owned());
    assert!(
        said.contains("column `ids` is missing") && said.contains("`label`, `other`"),
        "{said}"
    );
    let said = refused(good.clone(), |l| drop(l.columns.shift_remove("ids")));
    assert!(said.contains("column `ids` is not gathered"), "{said}");
    let said = refused(good.clone(), |l| {
        drop(
            l.columns
                .insert("ids".to_owned(), HostTensor::i32(&[100, 2], vec![0; 200])),
        );
    });
    assert!(said.contains("column `ids` is i32[32, 2]"), "{said}");
    let both = Split::columns(data(100, 2)).with(Lists::of("ids", &good));
    let said = trainer(&spec())
        .learn(&both, None, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(said.contains("`ids` is both a column and gathered"), "{said}");
    // Labels are columns.
    let mut columns = data(100, 2);
    let label = columns.shift_remove("label").unwrap();
    let split = Split::gathered(columns, Lists::of("label", &label));
    let said = trainer(&spec())
        .learn(&split, None, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(said.contains("column `label` is missing"), "{said}");
}

/// A model of vectors: the logit is their sum.
fn sums() -> Model {
    let mut graph = Graph::new();
    let pair = Shape(vec![Dim::Rows(1), Dim::Fixed(2)]);
    let x = graph.input("x", DType::F32, pair).unwrap();
    let w = graph.param("w", &[1, 2]).unwrap();
    let logit = nn::linear(&mut graph, x, w, None).unwrap();
    graph.outputs = vec![("logit".to_owned(), logit), ("x".to_owned(), x)];
    Model {
        name: "sums".to_owned(),
        graph,
        weights: Tensors::from([("w".to_owned(), HostTensor::f32(&[1, 2], vec![1.0, 1.0]))]),
    }
}

#[test]
fn numbers_that_are_none_are_found_when_they_are_gathered() {
    let mut x = vec![0.5; 200];
    x[2 * 70] = f32::NAN;
    let mut columns = data(100, 2);
    columns.shift_remove("ids");
    let split = Split::gathered(columns, Lists::of("x", &HostTensor::f32(&[100, 2], x)));
    let mut t = Trainer::new(Trainable::of_model(&sums()).unwrap(), &spec()).unwrap();
    let said = t.learn(&split, None, &mut |_| {}).unwrap_err().to_string();
    assert_eq!(said, "the columns given, row 70: `x` is NaN, which is no finite number");
    let said = score(&sums(), &["logit"], &split).unwrap_err().to_string();
    assert!(said.contains("row 70: `x` is NaN"), "{said}");
    // Finite numbers whose sum is none.
    let big = Tensors::from([(
        "x".to_owned(),
        HostTensor::f32(&[3, 2], vec![1.0, 1.0, 1.0, 1.0, 3e38, 3e38]),
    )]);
    let said = score(&sums(), &["logit"], &Split::columns(big))
        .unwrap_err()
        .to_string();
    assert_eq!(
        said,
        "model `sums`, row 2: output `logit` is inf, which is no finite number"
    );
}

#[test]
fn scores_are_the_models_for_every_row() {
    // More rows than a block has.
    let rows = 20_000;
    let columns = Tensors::from([("ids".to_owned(), data(rows, 4)["ids"].clone())]);
    let split = Split::columns(columns.clone());
    let mut small = model();
    let wanted = interp::eval::<f32>(&small.graph, &small.weights, &columns, Sizes { rows, requests: rows }).unwrap();
    let logit = small.graph.outputs[0].1;
    small.graph.outputs.push(("again".to_owned(), logit));
    let all = score(&small, &["again", "logit"], &split).unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["again", "logit"]);
    assert_eq!(all["logit"].shape, wanted["logit"].to_host().shape);
    let close = |a: &HostTensor| {
        let want = wanted["logit"].to_host();
        let pairs = a.as_f32().unwrap().iter().zip(want.as_f32().unwrap());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-5
    };
    assert!(close(&all["logit"]) && close(&all["again"]));
    let mut blocks: Vec<Range<usize>> = Vec::new();
    score_blocks(&small, &["logit"], &split, |rows, out| {
        assert_eq!(
            out["logit"].as_f32(),
            Some(&all["logit"].as_f32().unwrap()[rows.clone()])
        );
        blocks.push(rows);
        Ok::<(), Error>(())
    })
    .unwrap();
    assert!(blocks.len() > 1 && blocks[0].start == 0 && blocks.last().unwrap().end == rows);
    assert!(blocks.windows(2).all(|w| w[0].end == w[1].start));
    let t = trainer(&spec());
    assert_eq!(
        t.score(&gathered(data(rows, 4))).unwrap(),
        all["logit"].as_f32().unwrap()
    );
    let said = score(&small, &["prob"], &split).unwrap_err().to_string();
    assert_eq!(said, "model `small` has no output `prob`; there are `logit`, `again`");
}
