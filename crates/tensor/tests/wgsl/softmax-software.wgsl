@group(0) @binding(0) var<storage, read_write> buf0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> buf1: array<f32>;

@compute @workgroup_size(8)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = group.x;
    let row = index * 8u + lane;
    let i0 = row;
    var r1 = vec4<f32>((-0x1.fffffep+127f));
    for (var step = 0u; step < 250u; step += 1u) {
        let j0_quad = step;
        let j0 = j0_quad * 4u;
        let v0 = buf0[((i0 * 250u + j0_quad))];
        r1 = max(r1, v0);
    }
    var r1_all = max(max(r1.x, r1.y), max(r1.z, r1.w));
    let v1 = r1_all;
    var r4 = vec4<f32>(0.0f);
    for (var step = 0u; step < 250u; step += 1u) {
        let j0_quad = step;
        let j0 = j0_quad * 4u;
        let v0 = buf0[((i0 * 250u + j0_quad))];
        let v2 = (v0 - vec4<f32>(v1));
        let v3 = exp(v2);
        r4 = (r4 + v3);
    }
    var r4_all = ((r4.x + r4.y) + (r4.z + r4.w));
    let v4 = r4_all;
    for (var step = 0u; step < 250u; step += 1u) {
        let j0_quad = step;
        let j0 = j0_quad * 4u;
        let v0 = buf0[((i0 * 250u + j0_quad))];
        let v2 = (v0 - vec4<f32>(v1));
        let v3 = exp(v2);
        let v5 = (v3 / vec4<f32>(v4));
        buf0[(i0 * 250u + j0_quad)] = v5;
    }
    buf1[i0] = v4;
}
