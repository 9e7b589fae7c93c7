//! The models of these tests in loops, in f64.

use loopfm::tensor::{Data, Tensors};

/// The numbers of a model in loops, one row at a time.
pub(super) struct Naive<'a> {
    pub(super) weights: &'a Tensors,
    pub(super) batch: &'a Tensors,
    pub(super) row: usize,
}

impl Naive<'_> {
    fn weight(&self, name: &str) -> Vec<f64> {
        self.weights[name]
            .as_f32()
            .expect("floats")
            .iter()
            .map(|x| f64::from(*x))
            .collect()
    }

    fn request(&self) -> usize {
        self.batch["request_of_row"].as_i32().expect("integers")[self.row] as usize
    }

    fn table(&self, field: &str, id: i32) -> Vec<f64> {
        let width = self.weights[&format!("embedding.{field}.weight")].shape[1];
        self.weight(&format!("embedding.{field}.weight"))[id as usize * width..][..width].to_vec()
    }

    fn lookup(&self, field: &str, at: usize) -> Vec<f64> {
        self.table(field, self.batch[field].as_i32().expect("integers")[at])
    }

    pub(super) fn linear(&self, prefix: &str, x: &[f64]) -> Vec<f64> {
        let (w, b) = (
            self.weight(&format!("{prefix}.weight")),
            self.weight(&format!("{prefix}.bias")),
        );
        let dot = |(row, b): (&[f64], &f64)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b;
        w.chunks(x.len()).zip(&b).map(dot).collect()
    }

    fn floats(&self, input: &str, width: usize, at: usize) -> Vec<f64> {
        let x = self.batch[input].as_f32().expect("floats");
        x[at * width..][..width].iter().map(|x| f64::from(*x)).collect()
    }

    /// What `out` of the DCNv2 reads.
    pub(super) fn dcn(&self) -> Vec<f64> {
        let mut x0 = self.lookup("user", self.request());
        x0.extend(self.lookup("item", self.row));
        x0.extend(self.floats("age", 1, self.row));
        let mut crossed = x0.clone();
        for i in 0..2 {
            let mapped = self.linear(&format!("cross.{i}"), &crossed);
            crossed = (0..x0.len()).map(|c| x0[c] * mapped[c] + crossed[c]).collect();
        }
        let mut deep = x0;
        for i in 0..2 {
            deep = self
                .linear(&format!("mlp.{i}"), &deep)
                .iter()
                .map(|x| x.max(0.0))
                .collect();
        }
        [crossed, deep].concat()
    }

    /// What `out` of the DIN reads.
    pub(super) fn din(&self) -> Vec<f64> {
        let (r, t) = (self.request(), 5);
        let target = [self.lookup("item", self.row), self.floats("emb", 2, self.row)].concat();
        let mut pooled = vec![0.0; target.len()];
        for at in r * t..(r + 1) * t {
            let Data::Bool(mask) = &self.batch["hist_mask"].data else {
                panic!("the mask is truth values")
            };
            if !mask[at] {
                continue;
            }
            let id = self.batch["hist_item"].as_i32().expect("integers")[at];
            let key = [self.table("item", id), self.floats("hist_emb", 2, at)].concat();
            let each = |f: fn(f64, f64) -> f64| target.iter().zip(&key).map(|(q, k)| f(*q, *k)).collect::<Vec<_>>();
            let mut x = [target.clone(), key.clone(), each(|q, k| q - k), each(|q, k| q * k)].concat();
            for i in 0..2 {
                x = self.linear(&format!("attention.{i}"), &x);
                let own = |name: &str| self.weight(&format!("attention.{i}.dice.{name}"));
                let (alpha, mean, var) = (own("alpha"), own("running_mean"), own("running_var"));
                for (c, x) in x.iter_mut().enumerate() {
                    let p = 1.0 / (1.0 + (-(*x - mean[c]) / (var[c] + 1e-9).sqrt()).exp());
                    *x *= p + (1.0 - p) * alpha[c];
                }
            }
            let score = self.linear("attention.out", &x)[0];
            pooled.iter_mut().zip(&key).for_each(|(p, k)| *p += score * k);
        }
        let own = self.floats("emb", 2, self.row);
        let mut x = [self.lookup("user", r), self.lookup("item", self.row), pooled, own].concat();
        for i in 0..2 {
            let alpha = self.weight(&format!("mlp.{i}.prelu.weight"))[0];
            x = self
                .linear(&format!("mlp.{i}"), &x)
                .iter()
                .map(|x| if *x > 0.0 { *x } else { alpha * x })
                .collect();
        }
        x
    }
}
