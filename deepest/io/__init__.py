"""Files: tables of observations, images of other libraries, named arrays in one NetCDF file; files are whole or absent.

    (times, values) from CSV, .npy or NetCDF;   {group: {variable: (dims, array, attributes)}} to and from NetCDF-4;
    paths and levels of varanneal and minAone

This room knows nothing of models or results, and imports nothing of deepest; NetCDF needs the extra `io`.
"""

from deepest.io._annealed import Annealed as Annealed
from deepest.io._annealed import read_minaone as read_minaone
from deepest.io._annealed import read_varanneal as read_varanneal
from deepest.io._files import atomic as atomic
from deepest.io._images import read_digits as read_digits
from deepest.io._table import Table as Table
from deepest.io._table import read_table as read_table
from deepest.io._tree import read_tree as read_tree
from deepest.io._tree import write_tree as write_tree
from deepest.io._writing import clear as clear
from deepest.io._writing import writing as writing
