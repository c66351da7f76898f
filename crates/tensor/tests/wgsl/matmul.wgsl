@group(0) @binding(0) var<storage, read> buf0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> buf1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> buf2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> buf3: array<f32>;

var<workgroup> tile_a: array<f32, 576>;
var<workgroup> tile_b: array<f32, 576>;
fn store4(batch: u32, row: u32, col: u32, acc: vec4<f32>) {
    let quad = col / 4u;
    buf2[(batch * 16384u + row * 64u + quad)] = acc;
}
fn store_sum(batch: u32, row: u32, sum: f32) {
    let channel = row;
    buf3[channel] = sum;
}

@compute @workgroup_size(8, 8)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32, @builtin(local_invocation_id) local: vec3<u32>) {
    let index = group.x;
    let batch = index / 64u;
    let row0 = index / 8u % 8u * 32u;
    let col0 = index % 8u * 32u;
    let tile_row = local.y * 4u;
    let tile_col = local.x * 4u;
    var c0_0 = vec4<f32>();
    var c1_0 = vec4<f32>();
    var c2_0 = vec4<f32>();
    var c3_0 = vec4<f32>();
    var sum = 0.0;
    let a_along = lane % 4u * 4u;
    let a_line = lane / 4u;
    var pa0 = batch * 3840u + (row0 + a_line + 0u) * 15u + a_along / 4u;
    let b_along = lane % 4u * 4u;
    let b_line = lane / 4u;
    var pb0 = batch * 3840u + (col0 + b_line + 0u) * 15u + b_along / 4u;
    for (var step = 0u; step < 4u; step++) {
        let a_in0 = step * 16u + a_along < 60u;
        let a0 = select(vec4<f32>(), buf0[select(0u, pa0 + 0u, a_in0)], a_in0);
        let a_in1 = step * 16u + a_along < 60u;
        let a1 = select(vec4<f32>(), buf0[select(0u, pa0 + 240u, a_in1)], a_in1);
        pa0 += 4u;
        let b_in0 = step * 16u + b_along < 60u;
        let b0 = select(vec4<f32>(), buf1[select(0u, pb0 + 0u, b_in0)], b_in0);
        let b_in1 = step * 16u + b_along < 60u;
        let b1 = select(vec4<f32>(), buf1[select(0u, pb0 + 240u, b_in1)], b_in1);
        pb0 += 4u;
        tile_a[(a_along + 0u) * 36u + a_line + 0u] = a0.x;
        tile_a[(a_along + 1u) * 36u + a_line + 0u] = a0.y;
        tile_a[(a_along + 2u) * 36u + a_line + 0u] = a0.z;
        tile_a[(a_along + 3u) * 36u + a_line + 0u] = a0.w;
        tile_a[(a_along + 0u) * 36u + a_line + 16u] = a1.x;
        tile_a[(a_along + 1u) * 36u + a_line + 16u] = a1.y;
        tile_a[(a_along + 2u) * 36u + a_line + 16u] = a1.z;
        tile_a[(a_along + 3u) * 36u + a_line + 16u] = a1.w;
        tile_b[(b_along + 0u) * 36u + b_line + 0u] = b0.x;
        tile_b[(b_along + 1u) * 36u + b_line + 0u] = b0.y;
        tile_b[(b_along + 2u) * 36u + b_line + 0u] = b0.z;
        tile_b[(b_along + 3u) * 36u + b_line + 0u] = b0.w;
        tile_b[(b_along + 0u) * 36u + b_line + 16u] = b1.x;
        tile_b[(b_along + 1u) * 36u + b_line + 16u] = b1.y;
        tile_b[(b_along + 2u) * 36u + b_line + 16u] = b1.z;
        tile_b[(b_along + 3u) * 36u + b_line + 16u] = b1.w;
        workgroupBarrier();
        let a0_0 = vec4<f32>(tile_a[tile_row + 0u], tile_a[tile_row + 1u], tile_a[tile_row + 2u], tile_a[tile_row + 3u]);
        let b0_0 = vec4<f32>(tile_b[tile_col + 0u], tile_b[tile_col + 1u], tile_b[tile_col + 2u], tile_b[tile_col + 3u]);
        c0_0 += a0_0.x * b0_0;
        c1_0 += a0_0.y * b0_0;
        c2_0 += a0_0.z * b0_0;
        c3_0 += a0_0.w * b0_0;
        let a1_0 = vec4<f32>(tile_a[tile_row + 36u], tile_a[tile_row + 37u], tile_a[tile_row + 38u], tile_a[tile_row + 39u]);
        let b1_0 = vec4<f32>(tile_b[tile_col + 36u], tile_b[tile_col + 37u], tile_b[tile_col + 38u], tile_b[tile_col + 39u]);
        c0_0 += a1_0.x * b1_0;
        c1_0 += a1_0.y * b1_0;
        c2_0 += a1_0.z * b1_0;
        c3_0 += a1_0.w * b1_0;
        let a2_0 = vec4<f32>(tile_a[tile_row + 72u], tile_a[tile_row + 73u], tile_a[tile_row + 74u], tile_a[tile_row + 75u]);
        let b2_0 = vec4<f32>(tile_b[tile_col + 72u], tile_b[tile_col + 73u], tile_b[tile_col + 74u], tile_b[tile_col + 75u]);
        c0_0 += a2_0.x * b2_0;
        c1_0 += a2_0.y * b2_0;
        c2_0 += a2_0.z * b2_0;
        c3_0 += a2_0.w * b2_0;
        let a3_0 = vec4<f32>(tile_a[tile_row + 108u], tile_a[tile_row + 109u], tile_a[tile_row + 110u], tile_a[tile_row + 111u]);
        let b3_0 = vec4<f32>(tile_b[tile_col + 108u], tile_b[tile_col + 109u], tile_b[tile_col + 110u], tile_b[tile_col + 111u]);
        c0_0 += a3_0.x * b3_0;
        c1_0 += a3_0.y * b3_0;
        c2_0 += a3_0.z * b3_0;
        c3_0 += a3_0.w * b3_0;
        let a4_0 = vec4<f32>(tile_a[tile_row + 144u], tile_a[tile_row + 145u], tile_a[tile_row + 146u], tile_a[tile_row + 147u]);
        let b4_0 = vec4<f32>(tile_b[tile_col + 144u], tile_b[tile_col + 145u], tile_b[tile_col + 146u], tile_b[tile_col + 147u]);
        c0_0 += a4_0.x * b4_0;
        c1_0 += a4_0.y * b4_0;
        c2_0 += a4_0.z * b4_0;
        c3_0 += a4_0.w * b4_0;
        let a5_0 = vec4<f32>(tile_a[tile_row + 180u], tile_a[tile_row + 181u], tile_a[tile_row + 182u], tile_a[tile_row + 183u]);
        let b5_0 = vec4<f32>(tile_b[tile_col + 180u], tile_b[tile_col + 181u], tile_b[tile_col + 182u], tile_b[tile_col + 183u]);
        c0_0 += a5_0.x * b5_0;
        c1_0 += a5_0.y * b5_0;
        c2_0 += a5_0.z * b5_0;
        c3_0 += a5_0.w * b5_0;
        let a6_0 = vec4<f32>(tile_a[tile_row + 216u], tile_a[tile_row + 217u], tile_a[tile_row + 218u], tile_a[tile_row + 219u]);
        let b6_0 = vec4<f32>(tile_b[tile_col + 216u], tile_b[tile_col + 217u], tile_b[tile_col + 218u], tile_b[tile_col + 219u]);
        c0_0 += a6_0.x * b6_0;
        c1_0 += a6_0.y * b6_0;
        c2_0 += a6_0.z * b6_0;
        c3_0 += a6_0.w * b6_0;
        let a7_0 = vec4<f32>(tile_a[tile_row + 252u], tile_a[tile_row + 253u], tile_a[tile_row + 254u], tile_a[tile_row + 255u]);
        let b7_0 = vec4<f32>(tile_b[tile_col + 252u], tile_b[tile_col + 253u], tile_b[tile_col + 254u], tile_b[tile_col + 255u]);
        c0_0 += a7_0.x * b7_0;
        c1_0 += a7_0.y * b7_0;
        c2_0 += a7_0.z * b7_0;
        c3_0 += a7_0.w * b7_0;
        let a8_0 = vec4<f32>(tile_a[tile_row + 288u], tile_a[tile_row + 289u], tile_a[tile_row + 290u], tile_a[tile_row + 291u]);
        let b8_0 = vec4<f32>(tile_b[tile_col + 288u], tile_b[tile_col + 289u], tile_b[tile_col + 290u], tile_b[tile_col + 291u]);
        c0_0 += a8_0.x * b8_0;
        c1_0 += a8_0.y * b8_0;
        c2_0 += a8_0.z * b8_0;
        c3_0 += a8_0.w * b8_0;
        let a9_0 = vec4<f32>(tile_a[tile_row + 324u], tile_a[tile_row + 325u], tile_a[tile_row + 326u], tile_a[tile_row + 327u]);
        let b9_0 = vec4<f32>(tile_b[tile_col + 324u], tile_b[tile_col + 325u], tile_b[tile_col + 326u], tile_b[tile_col + 327u]);
        c0_0 += a9_0.x * b9_0;
        c1_0 += a9_0.y * b9_0;
        c2_0 += a9_0.z * b9_0;
        c3_0 += a9_0.w * b9_0;
        let a10_0 = vec4<f32>(tile_a[tile_row + 360u], tile_a[tile_row + 361u], tile_a[tile_row + 362u], tile_a[tile_row + 363u]);
        let b10_0 = vec4<f32>(tile_b[tile_col + 360u], tile_b[tile_col + 361u], tile_b[tile_col + 362u], tile_b[tile_col + 363u]);
        c0_0 += a10_0.x * b10_0;
        c1_0 += a10_0.y * b10_0;
        c2_0 += a10_0.z * b10_0;
        c3_0 += a10_0.w * b10_0;
        let a11_0 = vec4<f32>(tile_a[tile_row + 396u], tile_a[tile_row + 397u], tile_a[tile_row + 398u], tile_a[tile_row + 399u]);
        let b11_0 = vec4<f32>(tile_b[tile_col + 396u], tile_b[tile_col + 397u], tile_b[tile_col + 398u], tile_b[tile_col + 399u]);
        c0_0 += a11_0.x * b11_0;
        c1_0 += a11_0.y * b11_0;
        c2_0 += a11_0.z * b11_0;
        c3_0 += a11_0.w * b11_0;
        let a12_0 = vec4<f32>(tile_a[tile_row + 432u], tile_a[tile_row + 433u], tile_a[tile_row + 434u], tile_a[tile_row + 435u]);
        let b12_0 = vec4<f32>(tile_b[tile_col + 432u], tile_b[tile_col + 433u], tile_b[tile_col + 434u], tile_b[tile_col + 435u]);
        c0_0 += a12_0.x * b12_0;
        c1_0 += a12_0.y * b12_0;
        c2_0 += a12_0.z * b12_0;
        c3_0 += a12_0.w * b12_0;
        let a13_0 = vec4<f32>(tile_a[tile_row + 468u], tile_a[tile_row + 469u], tile_a[tile_row + 470u], tile_a[tile_row + 471u]);
        let b13_0 = vec4<f32>(tile_b[tile_col + 468u], tile_b[tile_col + 469u], tile_b[tile_col + 470u], tile_b[tile_col + 471u]);
        c0_0 += a13_0.x * b13_0;
        c1_0 += a13_0.y * b13_0;
        c2_0 += a13_0.z * b13_0;
        c3_0 += a13_0.w * b13_0;
        let a14_0 = vec4<f32>(tile_a[tile_row + 504u], tile_a[tile_row + 505u], tile_a[tile_row + 506u], tile_a[tile_row + 507u]);
        let b14_0 = vec4<f32>(tile_b[tile_col + 504u], tile_b[tile_col + 505u], tile_b[tile_col + 506u], tile_b[tile_col + 507u]);
        c0_0 += a14_0.x * b14_0;
        c1_0 += a14_0.y * b14_0;
        c2_0 += a14_0.z * b14_0;
        c3_0 += a14_0.w * b14_0;
        let a15_0 = vec4<f32>(tile_a[tile_row + 540u], tile_a[tile_row + 541u], tile_a[tile_row + 542u], tile_a[tile_row + 543u]);
        let b15_0 = vec4<f32>(tile_b[tile_col + 540u], tile_b[tile_col + 541u], tile_b[tile_col + 542u], tile_b[tile_col + 543u]);
        c0_0 += a15_0.x * b15_0;
        c1_0 += a15_0.y * b15_0;
        c2_0 += a15_0.z * b15_0;
        c3_0 += a15_0.w * b15_0;
        if col0 == 0u && lane < 32u {
            sum += tile_a[lane + 0u];
            sum += tile_a[lane + 36u];
            sum += tile_a[lane + 72u];
            sum += tile_a[lane + 108u];
            sum += tile_a[lane + 144u];
            sum += tile_a[lane + 180u];
            sum += tile_a[lane + 216u];
            sum += tile_a[lane + 252u];
            sum += tile_a[lane + 288u];
            sum += tile_a[lane + 324u];
            sum += tile_a[lane + 360u];
            sum += tile_a[lane + 396u];
            sum += tile_a[lane + 432u];
            sum += tile_a[lane + 468u];
            sum += tile_a[lane + 504u];
            sum += tile_a[lane + 540u];
        }
        workgroupBarrier();
    }
    {
        let row = row0 + tile_row + 0u;
        let col_0 = col0 + tile_col + 0u;
        store4(batch, row, col_0, c0_0);
    }
    {
        let row = row0 + tile_row + 1u;
        let col_0 = col0 + tile_col + 0u;
        store4(batch, row, col_0, c1_0);
    }
    {
        let row = row0 + tile_row + 2u;
        let col_0 = col0 + tile_col + 0u;
        store4(batch, row, col_0, c2_0);
    }
    {
        let row = row0 + tile_row + 3u;
        let col_0 = col0 + tile_col + 0u;
        store4(batch, row, col_0, c3_0);
    }
    if col0 == 0u && lane < 32u && row0 + lane < 256u {
        store_sum(batch, row0 + lane, sum);
    }
}
