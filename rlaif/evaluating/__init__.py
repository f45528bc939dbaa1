"""What `rlaif evaluate` does, step by step: policies, plan, respond, judged, measure, trained, written."""
