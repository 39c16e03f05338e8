// Where every program begins. Its own file has `run`, which is told the number of the workgroup and of the lane in it.

@compute @workgroup_size(LANES, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Two grid dimensions, because one holds at most 65,535 groups.
    run(group.y * groups.x + group.x, lane);
}
