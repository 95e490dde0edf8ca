package Fanout::Elapsed;

=head1 NAME

Fanout::Elapsed - seconds that no setting of the clock changes

=head1 SYNOPSIS

    use Fanout::Elapsed qw( time );

    my $end = time + 10;

=head1 DESCRIPTION

C<time> in place of Perl's: seconds since some moment, with fractions. What
waits asks it, so that a clock that is set meanwhile ends no wait.

=cut

use strict;
use warnings;

use Exporter qw( import );
use Time::HiRes qw( clock_gettime CLOCK_MONOTONIC );

our @EXPORT_OK = qw( time );


sub time () { clock_gettime(CLOCK_MONOTONIC) }


1;
