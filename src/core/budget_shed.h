/* budget_shed: a round of core/budget.h on one worker: sessions that hold much end. */
#pragma once

struct loop_defer;

void budget_shed(struct loop_defer *d); /* struct core: budget.defer */
