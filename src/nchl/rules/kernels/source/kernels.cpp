// The functions that Python calls: they run a list of instructions for each individual of a population. Individuals are
// distributed to threads once for the whole list, and no result depends on the thread.
#include "forward.hpp"
#include "move.hpp"

enum Kind { COPY, CONVOLVE, MULTIPLY, TANH, RELU, POOL, MOVE_CONV, STILL_TERMS, MOVE_LINEAR, MOVE_SYNAPTIC };

// As `_Instruction` in program.py. Arrays hold one individual after the other; x and before: `inputs` numbers each, y and after:
// `outputs`, everything else: `weights`. Before: A, C, D, eta of the inputs; after: B, C, D, eta of the outputs.
template <class T> struct Instruction {
    int32_t kind, sharing, inputs, outputs, weights, normalise;
    Geometry g;
    int32_t bias_each;  // numbers of `bias` per individual; 0: all share it
    const T *x, *bias, *before[4], *after[4], *synapses[5];
    T *y, *weight, *constant, *rate;
    uint8_t* overflow;
};

template <class T> struct Room {  // of one thread
    Workspace<T> share;
    Scratch<T> forward;
    Buffer<T> near;
};

template <class T> static Neurons<T> individual(const Instruction<T>& i, size_t p) {
    const size_t in = p * i.inputs, out = p * i.outputs;
    return {i.x + in,         i.y + out,         i.before[0] + in, i.before[1] + in, i.before[2] + in,
            i.before[3] + in, i.after[0] + out, i.after[1] + out, i.after[2] + out, i.after[3] + out};
}

// Row `row` is one observation of individual `row / batch`; only forward instructions have batches.
template <class T> static void carry_out(const Instruction<T>& i, size_t row, size_t batch, Room<T>& room) {
    const size_t p = row / batch, at = p * i.weights;
    const T* x = i.x + row * i.inputs;
    T *y = i.y + row * i.outputs, *weight = i.weight + at;
    const T* bias = i.bias ? i.bias + p * i.bias_each : nullptr;
    const auto by_sharing = [&](auto max, auto min, auto mean, auto median) { return i.sharing == MAX ? max : i.sharing == MIN ? min : i.sharing == MEAN ? mean : median; };
    switch (i.kind) {
        case COPY: std::copy_n(x, i.inputs, y); break;
        case CONVOLVE: convolve(i.g, x, weight, bias, y, room.forward); break;
        case MULTIPLY: multiply(i.inputs, i.outputs, x, weight, bias, y); break;
        case TANH: map(i.outputs, y, [](auto v) { return tanh<T>(v); }); break;
        case RELU: map(i.outputs, y, [](auto v) { return v < 0 ? decltype(v){} : v; }); break;
        case POOL: pool(i.g, x, y, room.forward); break;
        case MOVE_CONV: {
            const auto way = by_sharing(share<T, MAX>, share<T, MIN>, share<T, MEAN>, share<T, MEDIAN>);
            i.overflow[p] = !way(i.g, individual(i, p), room.share, i.constant ? i.constant + at : nullptr, i.rate ? i.rate + at : nullptr, weight);
            if (i.overflow[p]) return;
            break;
        }
        case STILL_TERMS: {
            const auto way = by_sharing(still_terms<T, MAX>, still_terms<T, MIN>, still_terms<T, MEAN>, still_terms<T, MEDIAN>);
            i.overflow[p] = !way(i.g, individual(i, p), room.share, i.constant + at, i.rate + at);
            break;
        }
        case MOVE_LINEAR: move_linear(i.inputs, i.outputs, individual(i, p), room.near, weight); break;
        case MOVE_SYNAPTIC: {
            const T* rules[5];
            for (int k = 0; k < 5; ++k) rules[k] = i.synapses[k] + at;
            move_synaptic(i.inputs, i.outputs, x, y, rules, weight);
            break;
        }
    }
    if (i.normalise) normalise(i.weights, weight);
}

// `active (people)`, or null for all; inactive individuals are not touched.
template <class T> static void run(const Instruction<T>* list, int count, int people, int batch, int threads, const uint8_t* active) {
    std::vector<int> rows;
    for (int row = 0; row < people * batch; ++row)
        if (!active || active[row / batch]) rows.push_back(row);
    const int n = rows.size();
#pragma omp parallel num_threads(std::max(1, std::min(threads, n)))
    {
        static thread_local Room<T> room;
        FlushDenormals flush;
#pragma omp for schedule(static)
        for (int k = 0; k < n; ++k)
            for (int i = 0; i < count; ++i) carry_out(list[i], rows[k], batch, room);
    }
}

extern "C" void run_float(const Instruction<float>* list, int count, int people, int batch, int threads, const uint8_t* active) {
    run(list, count, people, batch, threads, active);
}
extern "C" void run_double(const Instruction<double>* list, int count, int people, int batch, int threads, const uint8_t* active) {
    run(list, count, people, batch, threads, active);
}
