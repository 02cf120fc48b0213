// Loaded before the program under test (node --import): the notifications that Wine lacks come from the event double.
import koffi from 'koffi';

koffi.load('evdouble.dll');
