@group(0) @binding(0) var<storage, read_write> buf0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> buf1: array<f32>;

var<workgroup> scratch1: array<f32, 128>;
var<workgroup> scratch4: array<f32, 128>;

@compute @workgroup_size(128)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = group.x;
    let row = index * 4u + lane / 32u;
    let slice = lane % 32u;
    let first = lane - slice * 1u;
    let i0 = row;
    var r1 = vec4<f32>((-0x1.fffffep+127f));
    for (var step = slice; step < 250u; step += 32u) {
        let j0_quad = step;
        let j0 = j0_quad * 4u;
        let v0 = buf0[((i0 * 250u + j0_quad))];
        r1 = max(r1, v0);
    }
    var r1_all = max(max(r1.x, r1.y), max(r1.z, r1.w));
    scratch1[lane] = r1_all;
    workgroupBarrier();
    if slice < 16u {
        r1_all = max(r1_all, scratch1[lane + 16u]);
        scratch1[lane] = r1_all;
    }
    workgroupBarrier();
    if slice < 8u {
        r1_all = max(r1_all, scratch1[lane + 8u]);
        scratch1[lane] = r1_all;
    }
    workgroupBarrier();
    if slice < 4u {
        r1_all = max(r1_all, scratch1[lane + 4u]);
        scratch1[lane] = r1_all;
    }
    workgroupBarrier();
    if slice < 2u {
        r1_all = max(r1_all, scratch1[lane + 2u]);
        scratch1[lane] = r1_all;
    }
    workgroupBarrier();
    if slice < 1u {
        r1_all = max(r1_all, scratch1[lane + 1u]);
        scratch1[lane] = r1_all;
    }
    workgroupBarrier();
    let v1 = scratch1[first];
    var r4 = vec4<f32>(0.0f);
    for (var step = slice; step < 250u; step += 32u) {
        let j0_quad = step;
        let j0 = j0_quad * 4u;
        let v0 = buf0[((i0 * 250u + j0_quad))];
        let v2 = (v0 - vec4<f32>(v1));
        let v3 = exp(v2);
        r4 = (r4 + v3);
    }
    var r4_all = ((r4.x + r4.y) + (r4.z + r4.w));
    scratch4[lane] = r4_all;
    workgroupBarrier();
    if slice < 16u {
        r4_all = (r4_all + scratch4[lane + 16u]);
        scratch4[lane] = r4_all;
    }
    workgroupBarrier();
    if slice < 8u {
        r4_all = (r4_all + scratch4[lane + 8u]);
        scratch4[lane] = r4_all;
    }
    workgroupBarrier();
    if slice < 4u {
        r4_all = (r4_all + scratch4[lane + 4u]);
        scratch4[lane] = r4_all;
    }
    workgroupBarrier();
    if slice < 2u {
        r4_all = (r4_all + scratch4[lane + 2u]);
        scratch4[lane] = r4_all;
    }
    workgroupBarrier();
    if slice < 1u {
        r4_all = (r4_all + scratch4[lane + 1u]);
        scratch4[lane] = r4_all;
    }
    workgroupBarrier();
    let v4 = scratch4[first];
    for (var step = slice; step < 250u; step += 32u) {
        let j0_quad = step;
        let j0 = j0_quad * 4u;
        let v0 = buf0[((i0 * 250u + j0_quad))];
        let v2 = (v0 - vec4<f32>(v1));
        let v3 = exp(v2);
        let v5 = (v3 / vec4<f32>(v4));
        buf0[(i0 * 250u + j0_quad)] = v5;
    }
    if slice == 0u {
        buf1[i0] = v4;
    }
}
