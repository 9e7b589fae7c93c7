//! What is trained: a model, and the step graph that its loss makes.

use std::path::Path;
use std::sync::Arc;

use super::needs::{Need, Needs, Role};
use super::{Error, Spec};
use crate::import::Model;
use crate::ir::{Graph, Op, TensorType, Unary, Value};
use crate::model::{self, Mode};
use crate::nn;
use crate::optim::{INV_ROWS, NEXT, Step, rows_for_requests, step};
use crate::tensor::{DType, Dim, Shape, Sizes, Tensors};

/// The step graph's input of labels.
pub(super) const LABEL: &str = "label";
const WEIGHT: &str = "weight";
const TEACHER: &str = "teacher";

/// A model ready for training.
#[derive(Clone, Debug)]
pub struct Trainable {
    /// Its name.
    pub name: String,
    /// What the trained file shall compute.
    pub graph: Graph,
    /// The same model as it is trained: rows instead of requests, dropout and statistics of the batch where it has
    /// such. Its outputs become metrics, but for `next.NAME`, which are written to parameter `NAME`.
    pub training: Graph,
    /// The logit in `training`, one a row.
    pub logit: Value,
    /// The logit of a head for distillation.
    pub distillation: Option<Value>,
    /// The loss of an autoencoder, one a row.
    pub autoencoder: Option<Value>,
    /// First values of all parameters of both graphs.
    pub weights: Tensors,
    /// What both graphs were built by; the trained file says so, and whoever goes on from it has both again.
    pub architecture: Option<model::Spec>,
    /// What the user of this model should know, as sentences.
    pub notes: Vec<String>,
}

impl Trainable {
    /// The model of a specification: of its file ([`Trainable::of_file`]), or of its architecture with fresh weights.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::NoLogit`], [`Error::Architecture`].
    pub fn of_spec(spec: &Spec) -> Result<Self, Error> {
        let mut made = match spec.model_file() {
            Some(file) => Self::of_file(&file, spec.seed)?,
            None => Self::of_architecture(&spec.architecture()?, spec.seed)?,
        };
        if let Some(name) = &spec.name {
            made.name.clone_from(name);
        }
        Ok(made)
    }

    /// An architecture with fresh weights, a function of the seed.
    ///
    /// # Errors
    /// [`Error::Architecture`] when sizes do not fit each other or the architecture.
    pub fn of_architecture(sizes: &model::Spec, seed: u64) -> Result<Self, Error> {
        let (eval, mut train) = (sizes.build(Mode::Eval)?, sizes.build(Mode::Train)?);
        train.graph.outputs.retain(|(name, _)| name.starts_with(NEXT));
        Ok(Self {
            name: sizes.architecture().to_owned(),
            graph: eval.graph,
            weights: train.init(seed),
            training: train.graph,
            logit: train.logit,
            distillation: train.logit_kd,
            autoencoder: train.code.and_then(|code| code.loss),
            architecture: Some(sizes.clone()),
            notes: Vec::new(),
        })
    }

    /// A model from a file, as it is: what its graph computes is trained, and without dropout. The logit is its output
    /// `logit`, else what its output `prob` is the sigmoid of.
    ///
    /// # Errors
    /// [`Error::NoLogit`].
    pub fn of_model(model: &Model) -> Result<Self, Error> {
        let (mut training, logit) = with_logit(&model.name, &model.graph)?;
        training.outputs.clear();
        Ok(Self {
            name: model.name.clone(),
            graph: model.graph.clone(),
            training,
            logit,
            distillation: None,
            autoencoder: None,
            weights: model.weights.clone(),
            architecture: None,
            notes: Vec::new(),
        })
    }

    /// A model from a file, with its weights. One that says which architecture it is, as files written by a trainer do, is
    /// trained as that one; any other one as [`Trainable::of_model`]. The notes say what may surprise.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::NoLogit`].
    pub fn of_file(path: &Path, seed: u64) -> Result<Self, Error> {
        let model = model::load(path)?;
        let as_it_is = |why: &str| {
            let mut made = Self::of_model(&model)?;
            made.notes.push(format!(
                "`{}` {why}: the graph that it computes at inference is trained, without dropout, and statistics of \
                 normalisations stay as they are",
                path.display()
            ));
            Ok(made)
        };
        let Some(sizes) = model::spec_of(path)? else {
            return as_it_is("names no architecture");
        };
        let mut made = Self::of_architecture(&sizes, seed)?;
        if made.graph != model.graph {
            return as_it_is("has a graph that is not its architecture's");
        }
        let fresh: Vec<String> = made
            .weights
            .keys()
            .filter(|name| !model.weights.contains_key(*name))
            .cloned()
            .collect();
        if !fresh.is_empty() {
            made.notes.push(format!(
                "`{}` has no {}: they start anew",
                path.display(),
                fresh.join(", ")
            ));
        }
        made.weights.extend(model.weights);
        made.name = model.name;
        Ok(made)
    }
}

/// A trainable model with its loss and optimiser.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) graph: Graph,
    /// The architecture, as its file shall say it.
    pub(super) config: Option<String>,
    /// The same with rows for requests, and logits alone.
    pub(super) scoring: Graph,
    pub(super) step: Step,
    /// First values of all parameters.
    pub(super) weights: Tensors,
    /// What training data must have.
    pub(super) needs: Arc<Needs>,
    /// What validation data must have.
    pub(super) validation: Arc<Needs>,
}

impl Task {
    pub(super) fn new(model: Trainable, spec: &Spec) -> Result<Self, Error> {
        spec.check()?;
        let (mut scoring, logit) = with_logit(&model.name, &model.graph)?;
        scoring.outputs = vec![(LOGIT.to_owned(), logit)];
        let validation = needs(&model, &scoring, spec, false);
        let needs = needs(&model, &model.training, spec, true);
        let mut g = model.training.clone();
        let loss = loss(&mut g, &model, spec)?;
        Ok(Self {
            scoring,
            step: step(g, loss, &spec.optimiser)?,
            config: model.architecture.as_ref().map(model::Spec::to_json),
            name: model.name,
            graph: model.graph,
            weights: model.weights,
            needs: Arc::new(needs),
            validation: Arc::new(validation),
        })
    }

    /// The values that the step graph's parameters start from.
    pub(super) fn first_state(&self) -> Tensors {
        let mut state: Tensors = self.weights.clone();
        state.extend(self.step.state.clone());
        let names = self.step.graph.params().map(|(_, name, _)| name);
        names.filter_map(|name| state.swap_remove_entry(name)).collect()
    }

    /// The model's weights in the state of a step graph; those that the step does not know are as they were.
    pub(super) fn weights_in(&self, state: &Tensors) -> Tensors {
        let value = |name: &str| {
            Some((
                name.to_owned(),
                state.get(name).or_else(|| self.weights.get(name))?.clone(),
            ))
        };
        self.graph.params().filter_map(|(_, name, _)| value(name)).collect()
    }
}

/// A graph with rows for requests, and the logit in it: output `logit`, else what output `prob` is the sigmoid of.
fn with_logit(model: &str, graph: &Graph) -> Result<(Graph, Value), Error> {
    let g = rows_for_requests(graph)?;
    let output = |name: &str| g.outputs.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
    let of_prob = |v: Value| match g.op(v) {
        Op::Unary(Unary::Sigmoid) => Some(g.args(v)[0]),
        _ => None,
    };
    let one_a_row = |v: &Value| {
        let shape = g.shape(*v);
        g.ty(*v).dtype == DType::F32 && shape.symbolic().is_some() && shape.numel(Sizes::ONE) == 1
    };
    let logit = output("logit").or_else(|| of_prob(output("prob")?)).filter(one_a_row);
    match logit {
        Some(logit) => Ok((g, logit)),
        None => Err(Error::NoLogit {
            model: model.to_owned(),
        }),
    }
}

/// Appends the loss to the graph of a model, its parts and the logit as outputs.
fn loss(g: &mut Graph, model: &Trainable, spec: &Spec) -> Result<Value, Error> {
    let no_part = |part: &str, what| Error::NoPart {
        model: model.name.clone(),
        part: part.to_owned(),
        what,
    };
    let scope = g.enter("loss");
    let inv_rows = g.input(INV_ROWS, DType::F32, Shape(Vec::new()))?;
    let label = g.input(LABEL, DType::F32, rows())?;
    let weight = match &spec.data.weight {
        Some(_) => Some(g.input(WEIGHT, DType::F32, rows())?),
        None => None,
    };
    let task = nn::bce_with_logits(g, model.logit, label)?;
    let mut parts = vec![("loss.task", 1.0, task)];
    if let Some(d) = &spec.loss.distillation {
        let head = model.distillation.ok_or_else(|| no_part("distillation", "head"))?;
        let teacher = g.input(TEACHER, DType::F32, rows())?;
        let own = nn::distillation(g, head, teacher, d.alpha as f32)?;
        parts.push(("loss.distillation", d.weight as f32, own));
    }
    if let Some(weight) = spec.loss.autoencoder {
        let own = model.autoencoder.ok_or_else(|| no_part("autoencoder", "autoencoder"))?;
        parts.push(("loss.autoencoder", weight as f32, own));
    }
    let mut losses = Vec::new();
    for (name, factor, part) in &parts {
        let mean = nn::mean_over_rows(g, *part, weight, inv_rows)?;
        if parts.len() > 1 {
            g.outputs.push(((*name).to_owned(), mean));
        }
        losses.push((*factor, mean));
    }
    let total = nn::total(g, &losses)?;
    let logit = g.reshape(model.logit, &rows())?;
    g.outputs.push((LOGIT.to_owned(), logit));
    g.leave(scope);
    Ok(total)
}

/// The metric that holds the logits of a batch.
pub(super) const LOGIT: &str = "logit";

fn rows() -> Shape {
    Shape(vec![Dim::Rows(1)])
}

/// The columns that a graph of the model reads, labels, and for training what else the loss reads.
fn needs(model: &Trainable, graph: &Graph, spec: &Spec, training: bool) -> Needs {
    let extra = |input: &str, column: &str, role| Need {
        input: input.to_owned(),
        column: column.to_owned(),
        ty: TensorType::new(DType::F32, rows()),
        role,
    };
    let mut columns = Need::inputs(graph);
    columns.push(extra(LABEL, &spec.data.label, Role::Share));
    if let (Some(weight), true) = (&spec.data.weight, training) {
        columns.push(extra(WEIGHT, weight, Role::Weight));
    }
    if let (Some(d), true) = (&spec.loss.distillation, training) {
        columns.push(extra(TEACHER, &d.teacher, Role::Share));
    }
    Needs::new(graph.clone(), &model.weights, columns, &spec.data.label)
}
