// The entry point of every program. The file of the program defines `run`, with the index of the workgroup and of the lane in
// it.

@compute @workgroup_size(LANES, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // The grid has two dimensions, because one is limited to 65,535 workgroups.
    run(group.y * groups.x + group.x, lane);
}
