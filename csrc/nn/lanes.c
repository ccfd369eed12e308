#include "nn/lanes.h"

#include "nn/plan_build.h"
#include "nn/team.h"

bird_status bird_lanes_execute(bird_plan *const *plans, int n, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK, results[BIRD_MAX_LANES];
    bird_error errors[BIRD_MAX_LANES];

    BIRD_TRY(bird_job_checkpoint(job, err));
    BIRD_TRY(bird_team_require(n, err));
#pragma omp parallel for num_threads(n) schedule(static, 1)
    for (int i = 0; i < n; i++) results[i] = bird_plan_execute_lane(plans[i], job, &errors[i]);
    for (int i = 0; i < n; i++) {
        if (results[i] == BIRD_OK) continue;
        if (err) *err = errors[i];
        return results[i];
    }
cleanup:
    return status;
}
