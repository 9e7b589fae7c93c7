// What an update kernel of a training step works on; the rest of it is written for the optimiser's rule.

struct Span {
    weight: u32,  // first element of the tensor, or of one row of it, where weights are
    first: u32,   // first element of this span among those
    count: u32,
    width: u32,   // elements in a line of the tensor,
    line: u32,    // which takes as many with its padding
    g0: u32,      // where its gradients lie, as weights do
    g1: u32,
    g2: u32,
    s0: u32,      // where its state lies: as weights do, or one element for the row
    s1: u32,
    s2: u32,
}

var<workgroup> lanes: array<f32, 64>;

// The sum of a number of each invocation.
fn together(x: f32, lid: u32) -> f32 {
    workgroupBarrier();
    lanes[lid] = x;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lid < half { lanes[lid] += lanes[lid + half]; }
        workgroupBarrier();
    }
    return lanes[0];
}

// How many elements of its line follow an element of a span, itself among them; padding does not count. Spans of several
// lines with padding begin with one, and hold far fewer than 2^20 elements: then the division is exact.
fn left(i: u32, span: Span) -> u32 {
    let line = u32((f32(i) + 0.5) / f32(span.line));
    let column = i - line * span.line;
    return select(span.width - min(column, span.width), span.count - i, span.line == span.width);
}
