#pragma once
#include "numbers.h"
