/* Run a finished plan: bind the values outside the slab, and execute the steps in order. */
#include "nn/plan_internal.h"
#include "nn/team.h"

bird_status bird_plan_bind(bird_plan *plan, bird_value bound, void *data, bird_error *err) {
    bird_status status = BIRD_OK;
    BIRD_DNNL(dnnl_memory_set_data_handle(plan->values[bound].memory, data));
    plan->values[bound].data = data;
cleanup:
    return status;
}

void *bird_plan_data(const bird_plan *plan, bird_value of) {
    return plan->values[of].data;
}

static bird_status execute_step(const bird_plan *plan, const plan_step *now, bird_error *err) {
    bird_status status = BIRD_OK;
    if (now->primitive) {
        BIRD_DNNL(dnnl_primitive_execute(now->primitive, plan->engine->stream, now->n_args,
                                         now->bound));
    } else {
        void *data[BIRD_MAX_ARGS];
        for (int i = 0; i < now->n_args; i++) data[i] = plan->values[now->args[i].value].data;
        now->custom(now->context, data, plan->n_threads);
    }
cleanup:
    return status;
}

bird_status bird_plan_execute_range(bird_plan *plan, int from, int to, bird_job *job,
                                    bird_error *err) {
    bird_status status = BIRD_OK;
    BIRD_TRY(bird_team_require(plan->n_threads, err));
    bird_engine_set_threads(plan->n_threads);
    for (int i = from; i < to; i++) {
        BIRD_TRY(bird_job_checkpoint(job, err));
        BIRD_TRY(execute_step(plan, &plan->steps[i], err));
    }
    BIRD_DNNL(dnnl_stream_wait(plan->engine->stream));
cleanup:
    return status;
}

bird_status bird_plan_execute_lane(bird_plan *plan, const bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_engine_set_threads(1); /* affects only the calling thread */
    for (int i = 0; i < plan->n_steps; i++) {
        if (bird_job_stopped(job)) BIRD_FAIL(BIRD_CANCELLED, "cancelled");
        BIRD_TRY(execute_step(plan, &plan->steps[i], err));
    }
cleanup:
    return status;
}

bird_status bird_plan_execute(bird_plan *plan, bird_job *job, bird_error *err) {
    return bird_plan_execute_range(plan, 0, plan->n_steps, job, err);
}

int bird_plan_length(const bird_plan *plan) {
    return plan->n_steps;
}

size_t bird_plan_slab_size(const bird_plan *plan) {
    return plan->slab_size;
}
