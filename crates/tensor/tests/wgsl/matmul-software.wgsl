@group(0) @binding(0) var<storage, read> buf0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> buf1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> buf2: array<f32>;
@group(0) @binding(3) var<storage, read_write> buf3: array<f32>;

fn store(batch: u32, row: u32, col: u32, acc: f32) {
    buf2[(batch * 128u + row * 16u + col)] = acc;
}
fn store_sum(batch: u32, row: u32, sum: f32) {
    let channel = row;
    buf3[channel] = sum;
}

@compute @workgroup_size(8)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) sub: u32) {
    let index = group.x;
    let batch = index / 4u;
    let own_row = (index / 2u % 2u * 1u + 0u) * 4u;
    let own_col = (index % 2u * 8u + lane) * 1u;
    let row = own_row;
    let col = own_col;
    var pa = batch * 128u + row * 16u;
    var pb = batch * 256u + col * 16u;
    var c0_0 = f32();
    var c1_0 = f32();
    var c2_0 = f32();
    var c3_0 = f32();
    var sum0 = vec4<f32>();
    for (var step = 0u; step < 16u; step++) {
        let own_a0 = buf0[pa + min(sub + 0u, 3u) / 1u * 16u + min(sub + 0u, 3u) % 1u];
        let a0_0 = subgroupBroadcast(own_a0, 0u);
        let a1_0 = subgroupBroadcast(own_a0, 1u);
        let a2_0 = subgroupBroadcast(own_a0, 2u);
        let a3_0 = subgroupBroadcast(own_a0, 3u);
        let b0_0 = buf1[pb];
        let w0_0 = b0_0.x;
        c0_0 += a0_0.x * w0_0;
        c1_0 += a1_0.x * w0_0;
        c2_0 += a2_0.x * w0_0;
        c3_0 += a3_0.x * w0_0;
        sum0 += vec4<f32>(a0_0.x, a1_0.x, a2_0.x, a3_0.x);
        let w1_0 = b0_0.y;
        c0_0 += a0_0.y * w1_0;
        c1_0 += a1_0.y * w1_0;
        c2_0 += a2_0.y * w1_0;
        c3_0 += a3_0.y * w1_0;
        sum0 += vec4<f32>(a0_0.y, a1_0.y, a2_0.y, a3_0.y);
        let w2_0 = b0_0.z;
        c0_0 += a0_0.z * w2_0;
        c1_0 += a1_0.z * w2_0;
        c2_0 += a2_0.z * w2_0;
        c3_0 += a3_0.z * w2_0;
        sum0 += vec4<f32>(a0_0.z, a1_0.z, a2_0.z, a3_0.z);
        let w3_0 = b0_0.w;
        c0_0 += a0_0.w * w3_0;
        c1_0 += a1_0.w * w3_0;
        c2_0 += a2_0.w * w3_0;
        c3_0 += a3_0.w * w3_0;
        sum0 += vec4<f32>(a0_0.w, a1_0.w, a2_0.w, a3_0.w);
        pa += 1u;
        pb += 1u;
    }
    var tile0 = array<f32, 4>(c0_0, c1_0, c2_0, c3_0);
    let rows = select(0u, 4u, batch < 1u);
    for (var i = 0u; i < rows; i++) {
        store(batch, row + i, col + 0u, tile0[i]);
    }
    if own_col == 0u {
        store_sum(batch, row + 0u, sum0.x);
        store_sum(batch, row + 1u, sum0.y);
        store_sum(batch, row + 2u, sum0.z);
        store_sum(batch, row + 3u, sum0.w);
    }
}
