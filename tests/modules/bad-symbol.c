/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* It has no agentd_module. */

int nothing_of_ours;
