@group(0) @binding(0) var<storage, read_write> buf0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> buf1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> buf2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> buf3: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> step_row: array<vec4<u32>, 16>;

@compute @workgroup_size(256)
fn pointwise(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = group.x;
    let position = index * 256u + lane;
    let i0_quad = position;
    let i0 = i0_quad * 4u;
    let v0 = buf0[(i0_quad)];
    let v1 = buf1[(i0_quad)];
    let v2 = buf2[(i0_quad)];
    let v3 = buf3[(i0_quad)];
    let v4 = bitcast<f32>(step_row[2u].x);
    let v10 = (v2 * vec4<f32>(0.9f));
    let v11 = (v1 * vec4<f32>(0.1f));
    let v12 = (v10 + v11);
    let v13 = (v1 * v1);
    let v14 = (v3 * vec4<f32>(0.999f));
    let v15 = (v13 * vec4<f32>(0.001f));
    let v16 = (v14 + v15);
    let v17 = sqrt(v16);
    let v18 = (v17 + vec4<f32>(1e-8f));
    let v19 = (v12 / v18);
    let v20 = (v19 * vec4<f32>(v4));
    let v21 = (v0 - v20);
    buf0[i0_quad] = v21;
    buf2[i0_quad] = v12;
    buf3[i0_quad] = v16;
}
