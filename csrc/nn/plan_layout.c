/* Lay out a plan's slab: values that are never alive at the same time share bytes. Finishing a plan
 * places the values, allocates the slab, and binds the memories of values and steps. */
#include "base/alloc.h"
#include "nn/plan_internal.h"

static bool alive_together(const plan_value *a, const plan_value *b) {
    return a->first <= b->last && b->first <= a->last;
}

static bool overlapping(const plan_value *a, const plan_value *b) {
    return a->offset < b->offset + b->size && b->offset < a->offset + a->size;
}

/* Set the lowest offset at which `placing` overlaps no placed value that is alive at the same time.
 * Candidates are 0 and the ends of placed values; placed[] is in the order of placing. */
static void place(bird_plan *plan, plan_value *placing, const int *placed, int n_placed) {
    placing->offset = 0;
    for (;;) {
        size_t clear = 0;
        for (int i = 0; i < n_placed; i++) {
            const plan_value *other = &plan->values[placed[i]];
            if (!alive_together(placing, other) || !overlapping(placing, other)) continue;
            if (clear == 0 || other->offset + other->size < clear)
                clear = other->offset + other->size;
        }
        if (clear == 0) return;
        placing->offset = clear;
    }
}

/* Place the largest values first, because small ones fit into the gaps. */
static void lay_out(bird_plan *plan, int *order) {
    int n = 0;
    for (int i = 0; i < plan->n_values; i++) {
        int at;
        if (plan->values[i].external || plan->values[i].first < 0) continue;
        plan->values[i].size = bird_aligned_size(plan->values[i].size);
        for (at = n; at > 0 && plan->values[order[at - 1]].size < plan->values[i].size; at--)
            order[at] = order[at - 1];
        order[at] = i;
        n++;
    }
    plan->slab_size = 0;
    for (int i = 0; i < n; i++) {
        plan_value *placing = &plan->values[order[i]];
        place(plan, placing, order, i);
        if (placing->offset + placing->size > plan->slab_size)
            plan->slab_size = placing->offset + placing->size;
    }
}

bird_status bird_plan_finish(bird_plan *plan, bird_error *err) {
    bird_status status = BIRD_OK;
    int *order = bird_alloc((size_t)plan->n_values * sizeof *order);

    if (!order) BIRD_FAIL(BIRD_NOMEM, "out of memory for a plan's layout");
    lay_out(plan, order);
    plan->slab = bird_alloc(plan->slab_size);
    if (!plan->slab)
        BIRD_FAIL(BIRD_NOMEM, "out of memory for a plan's %zu MB", plan->slab_size >> 20);
    for (int i = 0; i < plan->n_values; i++) {
        plan_value *bound = &plan->values[i];
        if (!bound->external && bound->first >= 0) bound->data = (char *)plan->slab + bound->offset;
        BIRD_DNNL(dnnl_memory_create(&bound->memory, bound->md, plan->engine->engine,
                                     bound->data ? bound->data : DNNL_MEMORY_NONE));
    }
    for (int s = 0; s < plan->n_steps; s++) {
        plan_step *binding = &plan->steps[s];
        for (int a = 0; a < binding->n_args; a++) {
            binding->bound[a].arg = binding->args[a].name;
            binding->bound[a].memory = plan->values[binding->args[a].value].memory;
        }
    }
cleanup:
    bird_free(order);
    return status;
}
