# The harness of tests/golden/README.md, in Julia.
using Rosetta

run = Rosetta.start("Scripted", "1.2.3")
fact(run, "layout", "NCHW")
fact(run, "compiled", false)
phase(run, "load")
x_test = data(run, "x_test")
phase(run, "build")
w = weights(run)

function logits(x)
    is_told = run.experiment == "activations"
    is_told && activation(run, "pixels", x)
    sums = vec(sum(x, dims = (1, 2, 3)))
    y = vcat(sums', -sums')
    is_told && activation(run, "block 1/sums", () -> y)
    return y
end

if run.experiment == "inference"
    phase(run, "warmup")
    metric(run, "warmup_rows", sum(size(x, 4) for x in warmup(run, x_test)), "rows")
    phase(run, "predict")
    for x in split(run, x_test)
        outputs(run, logits(x))
    end
else
    phase(run, "train")
    pixels = Ref(0.0)
    for epoch in epochs(run)
        for (step_number, (x, y)) in enumerate(batches(run, epoch))
            loss = 0.125 + y[1] + y[2] / 16
            run.experiment == "nonfinite" && (loss = [NaN, Inf, -Inf][step_number])
            logits(x)
            pixels[] += sum(x)
            step(run, () -> loss)
        end
        epoch_end(run, epoch)
    end
    final_weights(run) do
        Dict(name => array .+ 1 for (name, array) in w)
    end
    metric(run, "pixels", pixels[], "1")
    phase(run, "predict")
    outputs(run, hcat([logits(x) for x in split(run, x_test)]...))
    phase(run, "evaluate")
    metric(run, "accuracy", run.experiment == "nonfinite" ? NaN32 : 0.75)
end
