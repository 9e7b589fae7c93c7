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
