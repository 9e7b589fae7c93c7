//! Gated recurrent units, forwards and back.

use super::Real;
use super::fold::add_scaled;
use super::value::Tensor;

/// What a step of one unit computes on the way to its next state.
struct Gates<T> {
    r: T,
    z: T,
    n: T,
    /// `h w_n + b_n`, which `r` scales.
    n_h: T,
}

/// Gates of every unit at a step: `x [3H]` is the input's part, `hw [3H]` the state's.
fn gates<T: Real>(x: &[T], hw: &[T]) -> Vec<Gates<T>> {
    let size = x.len() / 3;
    let unit = |i: usize| {
        let r = (x[i] + hw[i]).sigmoid();
        let z = (x[size + i] + hw[size + i]).sigmoid();
        let n_h = hw[2 * size + i];
        let n = (x[2 * size + i] + r * n_h).tanh();
        Gates { r, z, n, n_h }
    };
    (0..size).map(unit).collect()
}

/// `h w + b`.
fn projected<T: Real>(h: &[T], w: &[T], b: &[T]) -> Vec<T> {
    let mut hw = b.to_vec();
    for (h, w) in h.iter().zip(w.chunks_exact(b.len())) {
        add_scaled(&mut hw, *h, w);
    }
    hw
}

/// All states: of `(x, h0, w, b)`, or of `(x, h0, w, b, a)` with attention.
pub(super) fn gru<T: Real>(args: &[&Tensor<T>]) -> Vec<T> {
    let (x, h0, w, b) = (args[0], args[1].floats(), args[2].floats(), args[3].floats());
    let attention = args.get(4).map(|a| a.floats());
    let (_, [steps, width]) = x.shape.split_last_chunk().expect("typing: rank 2 or more");
    let size = width / 3;
    let mut states: Vec<T> = Vec::with_capacity(x.floats().len() / 3);
    if size == 0 {
        return states;
    }
    for (at, x) in x.floats().chunks_exact(*width).enumerate() {
        let before = match at % steps {
            0 => &h0[at / steps * size..][..size],
            _ => &states[states.len() - size..],
        };
        let gates = gates(x, &projected(before, w, b));
        let unit = |(g, h): (&Gates<T>, &T)| match attention {
            None => (T::ONE - g.z) * g.n + g.z * *h,
            Some(a) => (T::ONE - a[at] * g.z) * *h + a[at] * g.z * g.n,
        };
        let next: Vec<T> = gates.iter().zip(before).map(unit).collect();
        states.extend(next);
    }
    states
}

/// What each step passes back, from the last to the first: of `(x, h0, w, b, [a], hs, dhs)`, see [`crate::ir::Op::GruGrad`].
pub(super) fn gru_grad<T: Real>(args: &[&Tensor<T>]) -> Vec<T> {
    let (forward, states) = args.split_at(args.len() - 2);
    let (x, h0, w, b) = (
        forward[0],
        forward[1].floats(),
        forward[2].floats(),
        forward[3].floats(),
    );
    let attention = forward.get(4).map(|a| a.floats());
    let (hs, dhs) = (states[0].floats(), states[1].floats());
    let (_, [steps, width]) = x.shape.split_last_chunk().expect("typing: rank 2 or more");
    let size = width / 3;
    let packed = 5 * size + usize::from(attention.is_some());
    let count = x.floats().len().checked_div(*width).unwrap_or(0);
    let mut y = vec![T::ZERO; count * packed];
    for at in (0..count).rev() {
        let before = match at % steps {
            0 => &h0[at / steps * size..][..size],
            _ => &hs[(at - 1) * size..][..size],
        };
        // What the next step passes to this one's state is already there.
        let later: Vec<T> = match (at + 1) % steps {
            0 => vec![T::ZERO; size],
            _ => y[(at + 1) * packed + 4 * size..][..size].to_vec(),
        };
        let gates = gates(&x.floats()[at * width..][..*width], &projected(before, w, b));
        let y = &mut y[at * packed..][..packed];
        for (i, (g, h)) in gates.iter().zip(before).enumerate() {
            let dh = dhs[at * size + i] + later[i];
            // `h' = h + c (n - h)`, where the candidate's weight `c` is `1 - z`, or `a z`.
            let (c, dz_dc) = match attention {
                None => (T::ONE - g.z, -T::ONE),
                Some(a) => (a[at] * g.z, a[at]),
            };
            let dc = dh * (g.n - *h);
            let dn = dh * c * (T::ONE - g.n * g.n);
            y[i] = dn * g.n_h * g.r * (T::ONE - g.r);
            y[size + i] = dc * dz_dc * g.z * (T::ONE - g.z);
            y[2 * size + i] = dn;
            y[3 * size + i] = dn * g.r;
            y[4 * size + i] = dh * (T::ONE - c);
            if attention.is_some() {
                y[5 * size] = y[5 * size] + dc * g.z;
            }
        }
        // Through `h w + b`: its gradients are those of `x_r` and `x_z`, and the fourth.
        let (given, passed) = y.split_at_mut(4 * size);
        let through = [&given[..2 * size], &given[3 * size..]].concat();
        for (dh, w) in passed.iter_mut().zip(w.chunks_exact(*width)) {
            *dh = through.iter().zip(w).fold(*dh, |sum, (d, w)| sum + *d * *w);
        }
    }
    y
}
