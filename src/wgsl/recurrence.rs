//! Recurrent units, forwards and back: times follow each other inside a kernel, with barriers between them.

use super::emit::{Emitter, Row};
use super::index::{Ix, small};
use super::memory::Place;
use super::program::Program;
use crate::fuse::Home;
use crate::ir::Value;

/// Operands of a unit, and what its gates are computed for.
struct Unit {
    x: Value,
    h0: Value,
    w: Value,
    b: Value,
    attention: Option<Value>,
    /// All states, once they are known.
    states: Value,
    hidden: usize,
}

/// Gates of one element at one time: names in the shader.
struct Gates {
    reset: String,
    update: String,
    fresh: String,
    /// What the reset gate scales.
    scaled: String,
    /// The state before.
    own: String,
}

/// The indices of an element: those before time, time, the element; and its row.
struct At<'a> {
    lead: &'a [Ix],
    t: &'a Ix,
    j: &'a Ix,
    row: &'a Row,
}

fn index(lead: &[Ix], last: &[Ix]) -> Vec<Ix> {
    lead.iter().chain(last).cloned().collect()
}

impl Emitter<'_> {
    /// A recurrent unit: all states of one time are computed by the workgroup together, then those of the next.
    pub(super) fn gru(&mut self, p: &Program, anchor: Value) {
        let args = self.g.args(anchor).to_vec();
        let shape = self.extents(anchor);
        let home = self.partition.placement.homes[&anchor];
        let r = shape.len();
        let (time, hidden) = (shape[r - 2], shape[r - 1]);
        let unit = Unit {
            x: args[0],
            h0: args[1],
            w: args[2],
            b: args[3],
            attention: args.get(4).copied(),
            states: anchor,
            hidden,
        };
        let (t, time_loop) = self.open_loop("t", small(time));
        let (row, lead, j, header) = self.elements(p, &shape[..r - 2], hidden);
        let at = At {
            lead: &lead,
            t: &t,
            j: &j,
            row: &row,
        };
        let Gates { update, fresh, own, .. } = self.gates(&unit, &at);
        match unit.attention {
            None => self.line(&format!("let next = {fresh} + {update} * ({own} - {fresh});")),
            Some(attention) => {
                let e = self.eval(attention, &index(&lead, std::slice::from_ref(&t)), 1, &row);
                self.line(&format!(
                    "let next = {own} + {} * {update} * ({fresh} - {own});",
                    e.text
                ));
            }
        }
        self.store(anchor, home, &index(&lead, &[t, j]), 1, "next", &row);
        self.close(&header);
        self.barrier();
        self.close(&time_loop);
    }

    /// What a recurrent unit passes back, see [`crate::ir::Op::GruGrad`]: from the last time to the first, gradients of the
    /// gates, then what they pass to the state before; gradients of attention, which nothing waits for, at the end.
    pub(super) fn gru_grad(&mut self, p: &Program, anchor: Value) {
        let args = self.g.args(anchor).to_vec();
        let (forward, states) = args.split_at(args.len() - 2);
        let hidden = self.extents(states[0]).last().copied().unwrap_or(1);
        let unit = Unit {
            x: forward[0],
            h0: forward[1],
            w: forward[2],
            b: forward[3],
            attention: forward.get(4).copied(),
            states: states[0],
            hidden,
        };
        let shape = self.extents(anchor);
        let lead = &shape[..shape.len() - 2];
        let time = shape[shape.len() - 2];
        let (back, time_loop) = self.open_loop("t", small(time));
        let text = format!("{}u - {}", time - 1, back.text());
        let name = self.bind("n", &text, back.depth()).text;
        let t = Ix::opaque(&name, small(time), back.depth());
        self.pass_gates(p, anchor, &unit, (lead, &t), states[1]);
        self.barrier();
        self.pass_state(p, anchor, &unit, (lead, &t));
        self.barrier();
        self.close(&time_loop);
        if let Some(attention) = unit.attention {
            self.pass_attention(p, anchor, &unit, (lead, time, attention), states[1]);
        }
    }

    /// Gradients of one time's gates, and what reaches the state before past them.
    fn pass_gates(&mut self, p: &Program, anchor: Value, unit: &Unit, (lead, t): (&[usize], &Ix), dhs: Value) {
        let (row, lead, j, header) = self.elements(p, lead, unit.hidden);
        let at = At {
            lead: &lead,
            t,
            j: &j,
            row: &row,
        };
        let gates = self.gates(unit, &at);
        let dh = self.arriving(anchor, unit, &at, dhs);
        let Gates {
            reset,
            update,
            fresh,
            scaled,
            own,
        } = gates;
        // `h' = h + c (n - h)`, where the candidate's weight `c` is `1 - z`, or `a z`.
        let (c, dz_dc) = match unit.attention {
            None => (format!("(1.0 - {update})"), "-1.0".to_owned()),
            Some(a) => {
                let a = self.eval(a, &index(&lead, std::slice::from_ref(t)), 1, &row).text;
                (format!("({a} * {update})"), a)
            }
        };
        self.line(&format!("let dn = {dh} * {c} * (1.0 - {fresh} * {fresh});"));
        let parts = [
            format!("dn * {scaled} * {reset} * (1.0 - {reset})"),
            format!("{dh} * ({fresh} - {own}) * {dz_dc} * {update} * (1.0 - {update})"),
            "dn".to_owned(),
            format!("dn * {reset}"),
            format!("{dh} * (1.0 - {c})"),
        ];
        for (i, part) in parts.iter().enumerate() {
            self.put(anchor, &at, i * unit.hidden, part);
        }
        self.close(&header);
    }

    /// Adds to what reaches the state before one time what comes through the product with the matrix.
    fn pass_state(&mut self, p: &Program, anchor: Value, unit: &Unit, (lead, t): (&[usize], &Ix)) {
        let hidden = unit.hidden;
        let (row, lead, j, header) = self.elements(p, lead, hidden);
        let at = At {
            lead: &lead,
            t,
            j: &j,
            row: &row,
        };
        let own = self.get(anchor, &at, &j.plus_constant(small(4 * hidden)));
        self.line(&format!("var passed = {own};"));
        let (k, inner) = self.open_loop("k", small(hidden));
        for (gate, part) in [0, 1, 3].into_iter().enumerate() {
            let d = self.get(anchor, &at, &k.plus_constant(small(part * hidden)));
            let w = self.eval(unit.w, &[j.clone(), k.plus_constant(small(gate * hidden))], 1, &row);
            self.line(&format!("passed = fma({d}, {}, passed);", w.text));
        }
        self.close(&inner);
        // Rows beyond the last stand for it. In the arena they share its place, and only itself may add to what is there; in
        // slots each has its own.
        let shared = matches!(self.partition.placement.homes[&anchor], Home::Arena { .. });
        self.open();
        self.put(anchor, &at, 4 * hidden, "passed");
        self.close(&match shared {
            true => format!("if row0 + {} < {} ", row.local.text(), p.count()),
            false => String::new(),
        });
        self.close(&header);
    }

    /// Gradients of attention: one invocation for each time of each sequence.
    fn pass_attention(
        &mut self,
        p: &Program,
        anchor: Value,
        unit: &Unit,
        (lead, time, _): (&[usize], usize, Value),
        dhs: Value,
    ) {
        let (row, lead, t, header) = self.elements(p, lead, time);
        self.line("var sum = 0.0;");
        let (j, inner) = self.open_loop("j", small(unit.hidden));
        let at = At {
            lead: &lead,
            t: &t,
            j: &j,
            row: &row,
        };
        let gates = self.gates(unit, &at);
        let dh = self.arriving(anchor, unit, &at, dhs);
        let Gates { update, fresh, own, .. } = gates;
        self.line(&format!("sum += {dh} * ({fresh} - {own}) * {update};"));
        self.close(&inner);
        let zero = Ix::default();
        let at = At { j: &zero, ..at };
        self.put(anchor, &at, 5 * unit.hidden, "sum");
        self.close(&header);
    }

    /// Deals the elements `[lead.., n]` of a tile's rows to invocations.
    fn elements(&mut self, p: &Program, lead: &[usize], n: usize) -> (Row, Vec<Ix>, Ix, String) {
        let sequences: usize = lead.iter().product();
        let (task, header) = self.open_tasks(small(p.tile * sequences * n), p.threads);
        let (rest, j) = self.split(&task, small(n));
        let (local, l) = self.split(&rest, small(sequences));
        let local = self.clamp(&local, small(p.tile));
        let row = self.row(p, &local);
        let lead = self.unflat(lead, &l);
        (row, lead, j, header)
    }

    /// The gates of an element: statements of the scope they are asked in.
    fn gates(&mut self, unit: &Unit, at: &At) -> Gates {
        let (hidden, row) = (unit.hidden, at.row);
        let time = {
            let shape = self.extents(unit.states);
            shape[shape.len() - 2]
        };
        // The state before this time: the first one given, later ones as stored.
        let text = format!("max({}, 1u) - 1u", at.t.text());
        let before = Ix::opaque(&self.bind("n", &text, at.t.depth()).text, small(time), at.t.depth());
        let names = [0, 1, 2].map(|_| self.name("gate"));
        for (g, name) in names.iter().enumerate() {
            let e = self.eval(unit.b, &[at.j.plus_constant(small(g * hidden))], 1, row);
            self.line(&format!("var {name} = {};", e.text));
        }
        let (k, inner) = self.open_loop("k", small(hidden));
        let state = self.state_before(unit, at, &before, &k);
        for (g, name) in names.iter().enumerate() {
            let e = self.eval(unit.w, &[k.clone(), at.j.plus_constant(small(g * hidden))], 1, row);
            self.line(&format!("{name} = fma({state}, {}, {name});", e.text));
        }
        self.close(&inner);
        let xs = [0, 1, 2].map(|g| {
            let ix = index(at.lead, &[at.t.clone(), at.j.plus_constant(small(g * hidden))]);
            self.eval(unit.x, &ix, 1, row).text
        });
        let own = self.state_before(unit, at, &before, at.j);
        let [reset, update, fresh] = ["reset", "update", "fresh"].map(|prefix| self.name(prefix));
        let [x0, x1, x2] = xs;
        let [g0, g1, scaled] = names;
        self.line(&format!("let {reset} = sigmoid_1({x0} + {g0});"));
        self.line(&format!("let {update} = sigmoid_1({x1} + {g1});"));
        self.line(&format!("let {fresh} = tanh_1({x2} + {reset} * {scaled});"));
        Gates {
            reset,
            update,
            fresh,
            scaled,
            own,
        }
    }

    /// Element `k` of the state before a time.
    fn state_before(&mut self, unit: &Unit, at: &At, before: &Ix, k: &Ix) -> String {
        let name = self.name("state");
        let first = self.eval(unit.h0, &index(at.lead, std::slice::from_ref(k)), 1, at.row);
        let stored = index(at.lead, &[before.clone(), k.clone()]);
        let later = match self.partition.placement.homes.get(&unit.states).copied() {
            Some(home) => self.load(unit.states, Place::Home(home), &stored, 1, at.row),
            None => self.eval(unit.states, &stored, 1, at.row),
        };
        let (first, later, t) = (first.text, later.text, at.t.text());
        self.line(&format!("let {name} = select({first}, {later}, {t} > 0u);"));
        name
    }

    /// The gradient that reaches a state: its own, and what the time after it passed back.
    fn arriving(&mut self, anchor: Value, unit: &Unit, at: &At, dhs: Value) -> String {
        let shape = self.extents(anchor);
        let time = shape[shape.len() - 2];
        let own = self.eval(dhs, &index(at.lead, &[at.t.clone(), at.j.clone()]), 1, at.row);
        let next = self.clamp(&at.t.plus_constant(1), small(time));
        let later = At {
            lead: at.lead,
            t: &next,
            ..*at
        };
        let passed = self.get(anchor, &later, &at.j.plus_constant(small(4 * unit.hidden)));
        let name = self.name("dh");
        let (own, t) = (own.text, at.t.text());
        self.line(&format!(
            "let {name} = {own} + select(0.0, {passed}, {t} < {}u);",
            time - 1
        ));
        name
    }

    fn get(&mut self, anchor: Value, at: &At, place: &Ix) -> String {
        let home = self.partition.placement.homes[&anchor];
        let ix = index(at.lead, &[at.t.clone(), place.clone()]);
        self.load(anchor, Place::Home(home), &ix, 1, at.row).text
    }

    fn put(&mut self, anchor: Value, at: &At, first: usize, text: &str) {
        let home = self.partition.placement.homes[&anchor];
        let ix = index(at.lead, &[at.t.clone(), at.j.plus_constant(small(first))]);
        self.store(anchor, home, &ix, 1, text, at.row);
    }

    fn barrier(&mut self) {
        self.line("workgroupBarrier();");
        self.line("storageBarrier();");
    }
}
